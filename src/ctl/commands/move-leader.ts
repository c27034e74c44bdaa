import type { Member } from "../../client/responses.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { EXIT, Failure } from "../output/exit.js";
import { out } from "../output/terminal.js";
import { callApi } from "./json-call.js";
import { listMembers, memberIdOf } from "./members.js";

/** Output and exit codes are those of etcdctl 3. */
export async function moveLeader(context: Context): Promise<number> {
  const [wanted = ""] = context.args;
  if (context.args.length !== 1) throw misuse("move-leader command needs 1 argument");
  const session = await Session.open(context);
  const target = choose(await listMembers(session), wanted);
  const leader = await callApi(session, {
    method: "GET",
    path: "/v2/members/leader",
    expected: [200],
  });
  await callApi(session, {
    method: "POST",
    path: "/v2/admin/leader",
    body: { id: target },
    expected: [204],
    hasReason: true,
    isFinal: true,
  });
  out(`Leadership transferred from ${(leader.json as Member).id} to ${target}\n`);
  return EXIT.ok;
}

function choose(members: readonly Member[], wanted: string): string {
  try {
    return memberIdOf(members, wanted);
  } catch (error) {
    throw error instanceof Failure ? misuse(error.message) : error;
  }
}

function misuse(text: string): Failure {
  return new Failure(EXIT.badUsage, `Error: ${text}`);
}
