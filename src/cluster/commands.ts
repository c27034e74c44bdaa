import { goJsonString, goJsonStrings } from "../go/text.js";
import { unreachable } from "../lib/assert.js";
import { type Command, CommandOp, commandOf } from "../store/command.js";
import type { MemberChange } from "./member-change.js";
import type { Member } from "./membership.js";
import {
  attributesPath,
  memberPath,
  raftAttributesPath,
  removedMemberPath,
  VERSION_PATH,
} from "./paths.js";

/**
 * The store commands that record the membership. On a fresh cluster they take the first indexes, in
 * etcd's order:
 *
 *   index  command                                 carried by
 *   1..n   create  /0/members/<id>/raftAttributes  conf-change entries, one per first member
 *   n+1..  set     /0/members/<id>/attributes      an entry of each member once it has started
 *   last   set     /0/version                      an entry of the leader
 *
 * so in a cluster of one the first write of a user gets modifiedIndex 4.
 *
 * Returns the commands of a conf change, to be applied in order at its entry's position. A removal
 * takes two indexes, a promotion none, or one if the learner was a lasting one.
 *
 * @param before the member that is changed
 */
export function confChangeCommands(
  change: MemberChange,
  timeMs: number,
  before?: Member,
): readonly Command[] {
  const write = (op: CommandOp, peerUrls: readonly string[], isLearner = false) => {
    const learner = isLearner ? ',"isLearner":true' : "";
    const text = `{"peerURLs":${goJsonStrings(peerUrls)}${learner}}`;
    return [command(op, raftAttributesPath(change.id), text, timeMs)];
  };
  switch (change.kind) {
    case "add":
      return write(CommandOp.create, change.peerUrls);
    case "addLearner":
      return write(CommandOp.create, change.peerUrls, true);
    case "update":
      return write(CommandOp.update, change.peerUrls, before?.isLearner);
    case "promote":
      return before?.isLearner === true ? write(CommandOp.update, before.peerUrls) : [];
    case "remove": {
      const wholeDirectory = { isDirectory: true, isRecursive: true };
      return [
        commandOf(CommandOp.delete, memberPath(change.id), "", timeMs, wholeDirectory),
        command(CommandOp.create, removedMemberPath(change.id), "", timeMs),
      ];
    }
    default:
      return unreachable(change);
  }
}

/** Publishes a member's name and client URLs. Proposed after every start until it is committed. */
export function publishAttributesCommand(
  id: bigint,
  name: string,
  clientUrls: readonly string[],
  timeMs: number,
): Command {
  const fields: string[] = [];
  if (name !== "") fields.push(`"name":${goJsonString(name)}`);
  if (clientUrls.length > 0) fields.push(`"clientURLs":${goJsonStrings(clientUrls)}`);
  return command(CommandOp.set, attributesPath(id), `{${fields.join(",")}}`, timeMs);
}

/** @param version "3.4.0" */
export function setClusterVersionCommand(version: string, timeMs: number): Command {
  return command(CommandOp.set, VERSION_PATH, version, timeMs);
}

function command(op: CommandOp, path: string, text: string, timeMs: number): Command {
  return commandOf(op, path, Buffer.from(text, "utf8").toString("latin1"), timeMs);
}
