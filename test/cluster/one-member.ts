import { createHash } from "node:crypto";
import {
  confChangeCommands,
  publishAttributesCommand,
  setClusterVersionCommand,
} from "#ringd/cluster/commands.js";
import { Membership } from "#ringd/cluster/membership.js";
import { type Command, CommandOp } from "#ringd/store/command.js";
import { Action, Event } from "#ringd/store/event.js";
import { Node } from "#ringd/store/node.js";

export const sha1 = (bytes: Uint8Array) => createHash("sha1").update(bytes).digest();

export const MEMBER_ID = 0x8ddab73534be950cn;
export const PEER_URL = "http://127.0.0.1:31380";
export const CLIENT_URL = "http://127.0.0.1:31379";

/** A store's event of a command, with the fields that the membership reads. */
export function eventOf(command: Command, index: number): Event {
  const action = {
    [CommandOp.create]: Action.create,
    [CommandOp.set]: Action.set,
    [CommandOp.update]: Action.update,
    [CommandOp.delete]: Action.delete,
  }[command.op as 1 | 2 | 3 | 5];
  const node = new Node(command.path, command.value, command.isDirectory, index, index, 0);
  return new Event(action, node, undefined, command.timeMs, false);
}

export function bootstrapCommands(): readonly Command[] {
  return [
    ...confChangeCommands({ kind: "add", id: MEMBER_ID, peerUrls: [PEER_URL] }, 7),
    publishAttributesCommand(MEMBER_ID, "default", [CLIENT_URL], 7),
    setClusterVersionCommand("3.4.0", 7),
  ];
}

export function oneMember(): Membership {
  const membership = new Membership();
  for (const [i, command] of bootstrapCommands().entries()) {
    membership.apply(eventOf(command, i + 1));
  }
  return membership;
}
