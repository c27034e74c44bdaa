import { encodePath } from "../../client/encode.js";
import type { MemberRequest } from "../../client/transport.js";
import { cleanPath } from "../../go/clean-path.js";
import type { Session } from "../cli/session.js";
import { errorText } from "../output/errors.js";
import { failure } from "../output/exit.js";

/** Requests to the members and auth APIs: JSON in both directions, failures have exit code 1. */

export interface JsonCall {
  readonly method: MemberRequest["method"];
  /** Not encoded. */
  readonly path: string;
  readonly body?: unknown;
  /** Status codes of success, and those the caller handles. */
  readonly expected: readonly number[];
  /** Whether responses with other status codes contain the reason as `message`. */
  readonly hasReason?: boolean;
  /** Whether a failure of one member is final, so that the next one is not asked. */
  readonly isFinal?: boolean;
}

export interface JsonResponse {
  readonly status: number;
  /** Undefined for an empty body. */
  readonly json: unknown;
  readonly clusterId: string;
}

/** @throws Failure with exit code 1 */
export async function callApi(session: Session, call: JsonCall): Promise<JsonResponse> {
  const { method, path, body, expected, hasReason = false, isFinal = false } = call;
  const request: MemberRequest = {
    method,
    path: encodePath(cleanPath(path).replace(/(?<=.)\/$/, "")),
    ...(isFinal ? { takesAnyStatus: true } : {}),
    ...(body === undefined ? {} : { body: JSON.stringify(body), contentType: "application/json" }),
  };
  const response = await session.request(request).catch(async (error: unknown) => {
    throw failure((await errorText(error)).text);
  });
  if (expected.includes(response.status)) {
    return {
      status: response.status,
      json: response.body === "" ? undefined : parseGoJson(response.body),
      clusterId: String(response.headers["x-etcd-cluster-id"] ?? ""),
    };
  }
  if (!hasReason) {
    throw failure(`unexpected status code ${response.status}`);
  }
  const { message = "" } = parseGoJson(response.body) as { readonly message?: string };
  throw failure(message);
}

/** @throws Failure for invalid JSON, with the text of Go's encoding/json where etcdctl shows it */
export function parseGoJson(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const first = /\S/.exec(body)?.[0];
    throw failure(
      first === undefined
        ? "unexpected end of JSON input"
        : /[[{"\d-]/.test(first)
          ? error.message
          : `invalid character '${first}' looking for beginning of value`,
    );
  }
}
