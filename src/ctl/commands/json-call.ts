import { encodePath } from "../../client/encode.js";
import type { MemberRequest } from "../../client/transport.js";
import { cleanPath } from "../../lib/clean-path.js";
import type { Session } from "../cli/session.js";
import { show } from "../output/errors.js";
import { refused } from "../output/exit.js";

/** Members and authentication: JSON both ways, failures in plain words with exit code 1. */

export interface JsonCall {
  readonly method: MemberRequest["method"];
  /** Not encoded. */
  readonly path: string;
  readonly body?: unknown;
  /** Status codes that are no surprise. */
  readonly expected: readonly number[];
  /** Whether an answer of any other status carries the reason as `message`. */
  readonly hasReason?: boolean;
}

export interface JsonAnswer {
  readonly status: number;
  /** Undefined for an empty body. */
  readonly json: unknown;
}

/** @throws Failure with exit code 1 */
export async function askJson(session: Session, call: JsonCall): Promise<JsonAnswer> {
  const { method, path, body, expected, hasReason = false } = call;
  const request: MemberRequest = {
    method,
    path: encodePath(cleanPath(path).replace(/(?<=.)\/$/, "")),
    ...(body === undefined ? {} : { body: JSON.stringify(body), contentType: "application/json" }),
  };
  const answer = await session.request(request).catch(async (error: unknown) => {
    throw refused((await show(error)).text);
  });
  if (expected.includes(answer.status)) {
    return { status: answer.status, json: answer.body === "" ? undefined : parseJson(answer.body) };
  }
  if (!hasReason) {
    throw refused(`unexpected status code ${answer.status}`);
  }
  const { message = "" } = parseJson(answer.body) as { readonly message?: string };
  throw refused(message);
}

/** Where a body that is no JSON goes wrong, in the words of Go's encoding/json. */
export function parseJson(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const first = /\S/.exec(body)?.[0];
    throw refused(
      first === undefined
        ? "unexpected end of JSON input"
        : /[[{"\d-]/.test(first)
          ? error.message
          : `invalid character '${first}' looking for beginning of value`,
    );
  }
}
