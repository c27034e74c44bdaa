import { encodeForm, encodePath, encodeQuery, type Parameters } from "../../client/encode.js";
import type { MemberRequest } from "../../client/transport.js";
import { cleanPath } from "../../lib/clean-path.js";
import type { Session } from "../cli/session.js";
import { toKeyFailure } from "../output/errors.js";
import { EXIT, keyFailure } from "../output/exit.js";

/** The key space as etcdctl's commands see it: every field an answer had, and nothing read into it. */

export interface KeyNode {
  readonly key?: string;
  readonly dir?: boolean;
  readonly value?: string;
  readonly nodes?: readonly KeyNode[];
  readonly createdIndex?: number;
  readonly modifiedIndex?: number;
  readonly expiration?: string;
  readonly ttl?: number;
}

export interface KeyAnswer {
  readonly action: string;
  readonly node: KeyNode;
  readonly prevNode?: KeyNode;
  /** Index of the store. */
  readonly index: string;
}

export interface KeyRequest {
  readonly method: MemberRequest["method"];
  readonly key: string;
  readonly query?: Parameters;
  readonly form?: Readonly<Record<string, string | Uint8Array | undefined>>;
  /** Sent to one endpoint only: a second one could report a failure that was none. */
  readonly isOneShot?: boolean;
  readonly isWatch?: boolean;
}

/**
 * @returns undefined for an empty answer, which ends a wait without an event
 * @throws Failure with exit code 4
 */
export async function askKeys(
  session: Session,
  request: KeyRequest,
): Promise<KeyAnswer | undefined> {
  const { isOneShot = false } = request;
  const answer = await session
    .request(toHttp(request), !isOneShot)
    .catch(async (error: unknown) => {
      throw await toKeyFailure(EXIT.server, error, isOneShot);
    });
  const isGood = answer.status === 200 || answer.status === 201;
  if (isGood && answer.body === "") return undefined;
  const body = parse(answer.body);
  if (!isGood) {
    const { errorCode = 0, message = "", cause = "", index = 0 } = body;
    throw keyFailure(EXIT.server, `${errorCode}: ${message} (${cause}) [${index}]`);
  }
  const index = String(answer.headers["x-etcd-index"] ?? "0");
  return { ...(body as unknown as KeyAnswer), index };
}

/** As askKeys, where an answer without a body is an error. */
export async function expectKeys(session: Session, request: KeyRequest): Promise<KeyAnswer> {
  const answer = await askKeys(session, request);
  if (answer === undefined) throw keyFailure(EXIT.server, "client: response body is empty");
  return answer;
}

function parse(body: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw keyFailure(
    EXIT.server,
    "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint",
  );
}

function toHttp({ method, key, query = {}, form, isWatch }: KeyRequest): MemberRequest {
  const text = encodeQuery(query);
  const path = encodePath(cleanPath(`/v2/keys${key.startsWith("/") ? "" : "/"}${key}`));
  const common = { method, path: text === "" ? path : `${path}?${text}`, isWatch };
  if (form !== undefined) {
    return { ...common, body: encodedForm(form), contentType: "application/x-www-form-urlencoded" };
  }
  return common;
}

function encodedForm(form: NonNullable<KeyRequest["form"]>): string {
  const fields = Object.entries(form).sort(([a], [b]) => (a < b ? -1 : 1));
  return fields
    .flatMap(([name, value]) => (value === undefined ? [] : `${name}=${encodeForm(value)}`))
    .join("&");
}
