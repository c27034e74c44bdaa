import type { Method } from "../v2/request.js";
import type { ContentKind } from "../v2/response.js";

/** An answer the frontend's thread gives without asking the core. */
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

/** @returns undefined for a path that is the core's business */
export type LocalHandler = (
  request: LocalRequest,
) => LocalResponse | Promise<LocalResponse> | undefined;
