import { RingdError } from "../lib/errors.js";

/** The proxy cannot start. One line. */
export class ProxyStartError extends RingdError {
  override readonly name = "ProxyStartError";
  readonly code = "PROXY_START_REFUSED";
}

/** A member sent no response. */
export class RoundTripError extends RingdError {
  override readonly name = "RoundTripError";
  readonly code = "ROUND_TRIP_FAILED";
  /** Some of the request may have arrived. */
  readonly isSent: boolean;
  /** Over a connection that had served other requests: the member may just have closed it. */
  readonly wasReused: boolean;

  constructor(message: string, isSent: boolean, wasReused: boolean) {
    super(message);
    this.isSent = isSent;
    this.wasReused = wasReused;
  }
}
