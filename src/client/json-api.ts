import { type Cluster, parseBody, type ReadAnswer } from "./cluster.js";
import { ApiError, EtcdError, type EtcdErrorBody, InvalidAnswerError } from "./errors.js";
import type { CallOptions } from "./options.js";
import type { MemberRequest } from "./transport.js";

/**
 * Sends a request to an API other than the key space: JSON in both directions, errors as
 * `{"message": "..."}`.
 *
 * @param path encoded
 * @param json undefined: no body
 * @param accepted status codes of success
 * @param isFinal a failure of one member is final: the next one is not asked
 * @returns the response's JSON; undefined for an empty body
 * @throws ApiError for any other status, and the errors of `Cluster.request`
 */
export async function callJsonApi(
  cluster: Cluster,
  method: MemberRequest["method"],
  path: string,
  options: CallOptions,
  json?: unknown,
  accepted: readonly number[] = [200],
  isFinal = false,
): Promise<unknown> {
  const body = json === undefined ? undefined : JSON.stringify(json);
  const contentType = json === undefined ? undefined : "application/json";
  const request = { method, path, body, contentType, takesAnyStatus: isFinal };
  const response = await cluster.request(request, options, options.repeat ?? true);
  if (!accepted.includes(response.status)) throw errorOf(response);
  return response.body === "" ? undefined : parseBody(response);
}

/** Decodes the error in a response of any API; InvalidAnswerError if there is none in it. */
export function errorOf(response: ReadAnswer): Error {
  const { status, endpoint, body } = response;
  let json: Partial<EtcdErrorBody> | null;
  try {
    json = parseBody(response) as Partial<EtcdErrorBody> | null;
  } catch (error) {
    if (!(error instanceof InvalidAnswerError)) throw error;
    const text = body.trim();
    // Plain text comes from the HTTP layer: 404 page not found, 405 Method Not Allowed.
    const isText = text !== "" && text.length <= TEXT_CHARACTERS_MAX && !text.includes("<");
    return isText ? new ApiError(text, status, endpoint) : error;
  }
  if (typeof json?.errorCode === "number" && typeof json.message === "string") {
    const { errorCode, message, cause = "", index = 0 } = json;
    return EtcdError.of({ errorCode, message, cause, index }, status, endpoint);
  }
  return new ApiError(json?.message ?? `unexpected status code ${status}`, status, endpoint);
}

const TEXT_CHARACTERS_MAX = 200;
