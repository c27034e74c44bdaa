import { parseForm } from "./form.js";
import { type ApiResponse, plainResponse, refuseMethod } from "./plain.js";
import { type ApiRequest, Method } from "./request.js";
import { ContentKind } from "./response.js";

/** The checks of each probe, as in etcd 3.5.11, and two of ringd's own: threads and disk. */
export const PROBES = {
  "/livez": ["threads", "disk", "serializable_read"],
  "/readyz": ["leader", "linearizable_read"],
} as const;
export type CheckName = (typeof PROBES)[keyof typeof PROBES][number];

const VERBOSE: ReadonlySet<string> = new Set(["verbose"]);

/** @returns why it failed; undefined: it is well */
export type Check = () => string | undefined | Promise<string | undefined>;

/** Whether it is a probe, or one of its checks. */
export function isProbePath(path: string): boolean {
  return checksOf(path) !== undefined;
}

function checksOf(path: string): readonly CheckName[] | undefined {
  for (const [probe, names] of Object.entries(PROBES)) {
    if (path === probe || path === `${probe}/`) return names;
    const name = names.find((one) => path === `${probe}/${one}`);
    if (name !== undefined) return [name];
  }
  return undefined;
}

/**
 * `GET /livez`, `/readyz`, and one check as `/livez/NAME`: 200 `ok` if all checks are well, else
 * 503 with a line for each. `?verbose` shows the lines in any case; `?exclude=NAME`, which may
 * repeat, leaves out a check.
 */
export async function handleProbe(
  request: ApiRequest,
  checks: Readonly<Record<CheckName, Check>>,
): Promise<ApiResponse> {
  const refusal = refuseMethod(request.method, [Method.get, Method.head]);
  if (refusal !== undefined) return refusal;
  const excluded = valuesOf(request.query, "exclude");
  const names = checksOf(request.path)?.filter((name) => !excluded.includes(name)) ?? [];
  const outcomes = await Promise.all(
    names.map(async (name) => ({ name, why: await checks[name]() })),
  );
  const lines = outcomes.map(({ name, why }) =>
    why === undefined ? `[+]${name} ok\n` : `[-]${name} failed: ${why}\n`,
  );
  const isWell = outcomes.every(({ why }) => why === undefined);
  if (!isWell) return plainResponse(503, ContentKind.textError, lines.join(""));
  const shown = isVerbose(request.query) ? lines.join("") : "";
  return plainResponse(200, ContentKind.textError, `${shown}ok\n`);
}

function isVerbose(query: string): boolean {
  const parsed = parseForm(query, undefined, VERBOSE);
  return parsed.kind === "form" && parsed.form.has("verbose");
}

/** All values of a parameter; names of checks need no decoding. */
function valuesOf(query: string, name: string): string[] {
  const prefix = `${name}=`;
  return query
    .split("&")
    .filter((pair) => pair.startsWith(prefix))
    .map((pair) => pair.slice(prefix.length));
}
