import { RingdError } from "../lib/errors.js";

export class ListenError extends RingdError {
  override readonly name = "ListenError";
  readonly code = "LISTEN_FAILED";
  readonly why: string;

  constructor(where: string, why: string) {
    super(`Cannot listen on ${where}: ${why}`);
    this.why = why;
  }
}
