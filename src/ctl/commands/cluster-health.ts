import { setTimeout as sleep } from "node:timers/promises";
import { MemberError, UnavailableError } from "../../client/errors.js";
import type { Member } from "../../client/responses.js";
import { readTls, Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { endpointText, toKeyFailure } from "../output/errors.js";
import { EXIT, Failure, keyFailure } from "../output/exit.js";
import { exitAtInterrupt, out } from "../output/terminal.js";
import { parseGoJson } from "./json-call.js";
import { toMembers } from "./members.js";

const ROUND_MS = 10_000;

/** Checks every member of the cluster; lists the members with the endpoints as given. */
export async function clusterHealth(context: Context): Promise<number> {
  const isForever = context.flags.bool("forever");
  if (isForever) exitAtInterrupt();
  // Only here etcdctl reports an unreadable file as a failure of the server.
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
  const message = "cluster may be unhealthy: failed to list members\n";
  const response = await session
    .requestUnlimited({ method: "GET", path: "/v2/members" })
    .catch(async (error: unknown) => {
      out(message);
      throw await toKeyFailure(EXIT.server, error);
    });
  if (response.status === 200) return toMembers(parseGoJson(response.body));
  out(message);
  throw keyFailure(EXIT.server, `unexpected status code ${response.status}`);
}

/** Tries one URL after the other until one responds; prints the results. */
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

/** @returns whether the member is healthy, or an error message */
async function healthAt(
  session: Session,
  url: string,
  timeoutMs: number,
): Promise<boolean | string> {
  let body: string;
  try {
    body = (await session.requestOnce(url, { method: "GET", path: "/health" }, timeoutMs)).body;
  } catch (error) {
    const [first] = error instanceof UnavailableError ? error.errors : [];
    if (first === undefined) throw error;
    if (!(first instanceof MemberError)) return `Get "${url}/health": ${await endpointText(first)}`;
    // An unhealthy member responds with status 503.
    body = first.body;
  }
  try {
    const { health } = parseGoJson(body) as { readonly health?: unknown };
    return health === true || health === "true";
  } catch (error) {
    return (error as Error).message;
  }
}
