import { encodeForm, encodePath, encodeQuery, type Parameters } from "../../client/encode.js";
import type { MemberRequest } from "../../client/transport.js";
import { cleanPath } from "../../go/clean-path.js";
import type { Session } from "../cli/session.js";
import { toKeyFailure } from "../output/errors.js";
import { EXIT, keyFailure } from "../output/exit.js";
import type { KeyResponse } from "../output/keys.js";

/** The key space as etcdctl's commands use it. */

export interface KeyRequest {
  readonly method: MemberRequest["method"];
  readonly key: string;
  readonly query?: Parameters;
  readonly form?: Readonly<Record<string, string | Uint8Array | undefined>>;
  /**
   * Sent to one endpoint only: a second one could report a failure although the first one
   * succeeded.
   */
  readonly isOneShot?: boolean;
  readonly isWatch?: boolean;
}

/**
 * @returns undefined for an empty body, which ends a long poll without an event
 * @throws Failure with exit code 4
 */
export async function requestKeys(
  session: Session,
  request: KeyRequest,
): Promise<KeyResponse | undefined> {
  const { isOneShot = false } = request;
  const response = await session
    .request(toHttp(request), !isOneShot)
    .catch(async (error: unknown) => {
      throw await toKeyFailure(EXIT.server, error, isOneShot);
    });
  const isSuccess = response.status === 200 || response.status === 201;
  if (isSuccess && response.body === "") return undefined;
  const body = parse(response.body);
  if (!isSuccess) {
    const { errorCode = 0, message = "", cause = "", index = 0 } = body;
    throw keyFailure(EXIT.server, `${errorCode}: ${message} (${cause}) [${index}]`);
  }
  const index = String(response.headers["x-etcd-index"] ?? "0");
  return { ...(body as unknown as KeyResponse), index };
}

/** As requestKeys, but a response without a body is an error. */
export async function requestNode(session: Session, request: KeyRequest): Promise<KeyResponse> {
  const response = await requestKeys(session, request);
  if (response === undefined) throw keyFailure(EXIT.server, "client: response body is empty");
  return response;
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
