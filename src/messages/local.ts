import type { ContentKind } from "../v2/answer.js";
import type { Method } from "../v2/request.js";

/** An answer the frontend's thread gives without asking the core. */
export interface LocalAnswer {
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
) => LocalAnswer | Promise<LocalAnswer> | undefined;
