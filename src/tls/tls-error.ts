import { RingdError } from "../lib/errors.js";

/** A file of a TLS flag is unusable. The message names flag, file and reason. */
export class TlsFileError extends RingdError {
  override readonly name = "TlsFileError";
  readonly code = "TLS_FILE";
}
