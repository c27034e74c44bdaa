import { MemberError, UnavailableError } from "../../client/errors.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { endpointText } from "../output/errors.js";
import { EXIT, Failure } from "../output/exit.js";
import { out } from "../output/terminal.js";

interface EndpointHealth {
  readonly endpoint: string;
  readonly tookMs: number;
  /** Undefined: it is healthy. */
  readonly why: string | undefined;
}

/** `endpoint health` of etcdctl 3, for the client URLs of all members. It needs no credentials. */
export async function health(context: Context): Promise<number> {
  if (context.args.length > 0) throw new Failure(EXIT.badUsage, "Error: no arguments accepted");
  const session = await openAny(context);
  const timeoutMs = Math.max(context.globals.durationMs("total-timeout"), 0);
  const endpoints = [...session.endpoints].sort();
  const found = await Promise.all(endpoints.map((one) => check(session, one, timeoutMs)));
  show(found, context.globals.string("output"));
  if (found.every(({ why }) => why === undefined)) return EXIT.ok;
  throw new Failure(EXIT.failed, "Error: unhealthy cluster");
}

/** With the given endpoints if none of them lists the members. */
async function openAny(context: Context): Promise<Session> {
  try {
    return await Session.open(context);
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== EXIT.badConnection) throw error;
    return await Session.openUnsynced(context);
  }
}

async function check(
  session: Session,
  endpoint: string,
  timeoutMs: number,
): Promise<EndpointHealth> {
  const startMs = performance.now();
  const why = await problemAt(session, endpoint, timeoutMs);
  return { endpoint, tookMs: performance.now() - startMs, why };
}

/** @returns undefined if it is healthy */
async function problemAt(
  session: Session,
  endpoint: string,
  timeoutMs: number,
): Promise<string | undefined> {
  const get = (path: string) => session.requestOnce(endpoint, { method: "GET", path }, timeoutMs);
  try {
    const { status, body } = await get("/health");
    if (isHealthy(body)) return undefined;
    return status === 200 ? "unhealthy" : `unexpected status code ${status}`;
  } catch (error) {
    const [first] = error instanceof UnavailableError ? error.errors : [];
    if (first === undefined) throw error;
    if (!(first instanceof MemberError)) return await endpointText(first);
  }
  return await failedChecks(get);
}

function isHealthy(body: string): boolean {
  try {
    const { health: word } = JSON.parse(body) as { readonly health?: unknown };
    return word === true || word === "true";
  } catch {
    return false;
  }
}

/** Why a member said that it is unhealthy, by its probe; etcd 3.4 has none. */
async function failedChecks(get: (path: string) => Promise<unknown>): Promise<string> {
  try {
    await get("/readyz?verbose");
    return "it accepts no writes: the store or the disk is full, or the log has failed";
  } catch (error) {
    const [first] = error instanceof UnavailableError ? error.errors : [];
    if (!(first instanceof MemberError)) return "unhealthy";
    const lines = first.body.split("\n").filter((line) => line.startsWith("[-]"));
    return lines.map((line) => line.slice("[-]".length)).join("; ") || "unhealthy";
  }
}

function show(found: readonly EndpointHealth[], format: string): void {
  if (format === "json") {
    const list = found.map(({ endpoint, tookMs, why }) => ({
      endpoint,
      health: why === undefined,
      took: duration(tookMs),
      ...(why === undefined ? {} : { error: why }),
    }));
    out(`${JSON.stringify(list)}\n`);
    return;
  }
  for (const { endpoint, tookMs, why } of found) {
    out(
      why === undefined
        ? `${endpoint} is healthy: successfully committed proposal: took = ${duration(tookMs)}\n`
        : `${endpoint} is unhealthy: failed to commit proposal: ${why}\n`,
    );
  }
}

/** As Go shows it, to the microsecond. */
function duration(ms: number): string {
  return ms < 1000 ? `${Number(ms.toFixed(3))}ms` : `${Number((ms / 1000).toFixed(6))}s`;
}
