import { setTimeout as sleep } from "node:timers/promises";
import type { Member } from "../../client/answers.js";
import { MemberError, UnavailableError } from "../../client/errors.js";
import { readTls, Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { endpointText, toKeyFailure } from "../output/errors.js";
import { EXIT, Failure, keyFailure } from "../output/exit.js";
import { endAtInterrupt, out } from "../output/terminal.js";
import { parseJson } from "./json-call.js";
import { toMembers } from "./members.js";

const ROUND_MS = 10_000;

/** Asks every member of the list for its health, with the endpoints as they were given. */
export async function clusterHealth(context: Context): Promise<number> {
  const isForever = context.flags.bool("forever");
  if (isForever) endAtInterrupt();
  // Here alone etcdctl counts a file it cannot read as trouble with the server.
  await readTls(context).catch((error: unknown) => {
    throw error instanceof Failure ? keyFailure(EXIT.server, error.message) : error;
  });
  const session = await Session.openUnsynced(context);
  const members = await list(session);
  const timeoutMs = Math.max(context.globals.durationMs("total-timeout"), 0);
  for (;;) {
    let healthy = 0;
    for (const member of members) if (await isHealthy(session, member, timeoutMs)) healthy++;
    out(
      healthy === members.length
        ? "cluster is healthy\n"
        : healthy === 0
          ? "cluster is unavailable\n"
          : "cluster is degraded\n",
    );
    if (!isForever) return healthy === members.length ? EXIT.ok : EXIT.notHealthy;
    out("\nnext check after 10 second...\n\n");
    await sleep(ROUND_MS);
  }
}

async function list(session: Session): Promise<Member[]> {
  const sorry = "cluster may be unhealthy: failed to list members\n";
  const answer = await session
    .requestUnlimited({ method: "GET", path: "/v2/members" })
    .catch(async (error: unknown) => {
      out(sorry);
      throw await toKeyFailure(EXIT.server, error);
    });
  if (answer.status === 200) return toMembers(parseJson(answer.body));
  out(sorry);
  throw keyFailure(EXIT.server, `unexpected status code ${answer.status}`);
}

/** Asks one URL after the other, until one answers. Says what it found. */
async function isHealthy(session: Session, member: Member, timeoutMs: number): Promise<boolean> {
  const { id, clientURLs } = member;
  if (clientURLs.length === 0) {
    out(`member ${id} is unreachable: no available published client urls\n`);
    return false;
  }
  for (const url of clientURLs) {
    const health = await healthAt(session, url, timeoutMs);
    if (typeof health === "string") {
      out(`failed to check the health of member ${id} on ${url}: ${health}\n`);
      continue;
    }
    const word = health ? "healthy" : "unhealthy";
    out(`member ${id} is ${word}: got ${word} result from ${url}\n`);
    return health;
  }
  out(`member ${id} is unreachable: [${clientURLs.join(" ")}] are all unreachable\n`);
  return false;
}

/** @returns whether it is healthy, or why that is not known */
async function healthAt(
  session: Session,
  url: string,
  timeoutMs: number,
): Promise<boolean | string> {
  let body: string;
  try {
    body = (await session.requestApart(url, { method: "GET", path: "/health" }, timeoutMs)).body;
  } catch (error) {
    const [first] = error instanceof UnavailableError ? error.errors : [];
    if (first === undefined) throw error;
    if (!(first instanceof MemberError)) return `Get "${url}/health": ${await endpointText(first)}`;
    // It says that it is not healthy with status 503.
    body = first.body;
  }
  try {
    const { health } = parseJson(body) as { readonly health?: unknown };
    return health === true || health === "true";
  } catch (error) {
    return (error as Error).message;
  }
}
