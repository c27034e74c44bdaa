import { type Cluster, parseJson, type ReadAnswer } from "./cluster.js";
import { ApiError, EtcdError, type EtcdErrorBody, InvalidAnswerError } from "./errors.js";
import type { CallOptions } from "./options.js";
import type { Request } from "./transport.js";

/**
 * Everything that is not the key space: JSON there and back, refusals as `{"message": "..."}`.
 *
 * @param path encoded
 * @param json undefined: no body
 * @param accepted other statuses are refusals
 * @returns the answer's JSON; undefined for an empty body
 * @throws ApiError for a refusal, and what `Cluster.ask` throws
 */
export async function askJson(
  cluster: Cluster,
  method: Request["method"],
  path: string,
  options: CallOptions,
  json?: unknown,
  accepted: readonly number[] = [200],
): Promise<unknown> {
  const body = json === undefined ? undefined : JSON.stringify(json);
  const contentType = json === undefined ? undefined : "application/json";
  const request = { method, path, body, contentType };
  const answer = await cluster.ask(request, options, options.repeat ?? true);
  if (!accepted.includes(answer.status)) throw refusal(answer);
  return answer.body === "" ? undefined : parseJson(answer);
}

/** The error that an answer of the key space or any other part is. */
export function refusal(answer: ReadAnswer): Error {
  const { status, endpoint, body } = answer;
  let json: Partial<EtcdErrorBody> | null;
  try {
    json = parseJson(answer) as Partial<EtcdErrorBody> | null;
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
