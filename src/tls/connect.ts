import { isIP, type Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { RingdError } from "../lib/errors.js";
import { contextOptions } from "./contexts.js";
import { goHandshakeError } from "./go-errors.js";
import { type PeerTrust, whyServerRejected } from "./peer-checks.js";

/**
 * Node verifies a certificate only after its handshake, and cannot send the TLS alert that tells
 * the other side of the rejection. Members tell each other in the encrypted connection: who dialled
 * by a request with this header, who was dialled by a response with the same text.
 */
export const ALERT_HEADER = "x-ringd-tls-alert";
export const BAD_CERTIFICATE = "remote error: tls: bad certificate";
const ALERT = `GET /ringd/alert HTTP/1.1\r\nHost: ringd\r\n${ALERT_HEADER}: bad certificate\r\n\r\n`;
/** How long a rejected connection lives to hear why. */
const GOODBYE_MS = 1000;

/** TLS to a member failed. */
export class PeerTlsError extends RingdError {
  override readonly name = "PeerTlsError";
  readonly code = "PEER_TLS";
  /** The other side did not answer in time. */
  readonly isLate: boolean;

  constructor(reason: string, isLate = false) {
    super(reason);
    this.isLate = isLate;
  }
}

/**
 * Makes a connection to a member secure, and checks who it is.
 *
 * @param socket connected; destroyed if this fails
 * @param host of the member's URL
 * @param trust undefined: the default, without a certificate of our own
 * @throws PeerTlsError
 */
export function secureSocket(
  socket: Socket,
  host: string,
  trust: PeerTrust | undefined,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const tls = connect({
      ...(trust === undefined ? {} : contextOptions(trust.settings, trust.material)),
      socket,
      // By `whyServerRejected`, so that the reason is known and can be told.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...(isIP(host) === 0 && host !== "" ? { servername: host } : {}),
      ALPNProtocols: ["http/1.1"],
    });
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      tls.removeListener("error", onError);
      tls.removeListener("close", onClose);
    };
    const fail = (reason: string, isLate = false) => {
      end();
      tls.on("error", () => undefined);
      reject(new PeerTlsError(reason, isLate));
    };
    const giveUp = (reason: string, isLate = false) => {
      fail(reason, isLate);
      tls.destroy();
    };
    const timer = setTimeout(() => giveUp(`no response within ${timeoutMs} ms`, true), timeoutMs);
    const onAbort = () => giveUp("given up");
    const onError = (error: Error) => giveUp(goHandshakeError(error));
    const onClose = () => fail("EOF");
    tls.on("error", onError);
    tls.on("close", onClose);
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted) onAbort();
    tls.once("secureConnect", () => {
      tls.disableRenegotiation();
      const why = whyServerRejected(tls, host, trust);
      if (why !== undefined) {
        fail(why);
        sayGoodbye(tls, ALERT);
        return;
      }
      end();
      resolve(tls);
    });
  });
}

/** Sends a last text, and closes once the other side has, or soon. */
export function sayGoodbye(socket: Socket, text: string): void {
  const timer = setTimeout(() => socket.destroy(), GOODBYE_MS);
  socket.on("error", () => socket.destroy());
  socket.on("close", () => clearTimeout(timer));
  socket.on("end", () => socket.destroy());
  socket.resume();
  socket.end(text);
}
