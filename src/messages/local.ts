import type { Method } from "../v2/request.js";
import type { ContentKind } from "../v2/response.js";

/** A response that a frontend gives without the core. */
export interface LocalResponse {
  readonly status: number;
  readonly contentKind: ContentKind;
  readonly body: string | Uint8Array;
  readonly allow?: string;
}

export interface LocalRequest {
  readonly method: Method;
  readonly path: string;
  readonly query: string;
  readonly body: Uint8Array | undefined;
}

/** @returns undefined for paths that the core serves */
export type LocalHandler = (
  request: LocalRequest,
) => LocalResponse | Promise<LocalResponse> | undefined;
