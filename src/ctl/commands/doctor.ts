import { Client } from "../../client/client.js";
import { ApiError, ClientError } from "../../client/errors.js";
import type { Member } from "../../client/responses.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { errorText } from "../output/errors.js";
import { EXIT, Failure } from "../output/exit.js";
import { out } from "../output/terminal.js";
import { examine, type Finding } from "./doctor-checks.js";
import { gather } from "./doctor-facts.js";

const DENIED = 401;

/** Prints a line for each check. */
export async function doctor(context: Context): Promise<number> {
  if (context.args.length > 0) throw new Failure(EXIT.badUsage, "Error: no arguments accepted");
  const session = await Session.openUnsynced(context);
  const timeoutMs = Math.max(context.globals.durationMs("timeout"), 0);
  const client = new Client({ ...session.options, totalTimeoutMs: 0 });
  try {
    const answerMs = Math.max(context.globals.durationMs("total-timeout"), timeoutMs);
    const members = await listMembers(client, answerMs);
    const facts = await gather(client, members, { timeoutMs, answerMs });
    const findings = examine(facts, Date.now());
    out(shown(findings, context.globals.string("output")));
    return findings.some(({ level }) => level === "fail") ? EXIT.failed : EXIT.ok;
  } finally {
    await client.close();
  }
}

async function listMembers(client: Client, timeoutMs: number): Promise<readonly Member[]> {
  try {
    const members = await client.members.list({ timeoutMs });
    if (members.length > 0) return members;
    throw new Failure(EXIT.failed, "Error: the members list nobody");
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    const isDenied = error instanceof ApiError && error.status === DENIED;
    const why = isDenied
      ? "the list of members needs the role root: give its user with -u root:PASSWORD"
      : `no endpoint lists the members: ${(await errorText(error)).text.trimEnd()}`;
    throw new Failure(EXIT.failed, `Error: ${why}`);
  }
}

function shown(findings: readonly Finding[], format: string): string {
  if (format === "json") return `${JSON.stringify(findings)}\n`;
  const width = Math.max(...findings.map(({ check }) => check.length));
  return findings
    .map(({ check, level, figures, advice }) => {
      const what = advice === "" ? figures : `${figures}; ${advice}`;
      return `${level.padEnd(4)}  ${check.padEnd(width)}  ${what}\n`;
    })
    .join("");
}
