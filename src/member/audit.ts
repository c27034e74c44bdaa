import { assert } from "../lib/assert.js";
import { type ApiRequest, METHODS } from "../v2/request.js";
import type { TurnTimes } from "./times.js";

export type AuditKind = "denied" | "auth" | "member" | "snapshot";

/** Who wants what, for a line of the audit log: never a value, a query or a password. */
export interface AuditSource {
  /** The user whose credentials came with the request, or are claimed by it; "" for none. */
  readonly user: string;
  readonly cn: string;
  readonly remote: string;
  readonly method: string;
  readonly path: string;
}

/** Longer paths are truncated. */
const PATH_BYTES_MAX = 1024;
/** A claimed name may have any length. */
const USER_BYTES_MAX = 256;

/** Writes the lines of the audit log, which the main thread appends to its file. */
export class Audit {
  readonly #send: (line: string) => void;
  readonly #times: TurnTimes;
  readonly #isOn: boolean;

  constructor(send: (line: string) => void, times: TurnTimes, isOn: boolean) {
    this.#send = send;
    this.#times = times;
    this.#isOn = isOn;
  }

  /** @param user latin1 bytes @returns undefined without an audit log */
  source(request: ApiRequest, user: string): AuditSource | undefined {
    if (!this.#isOn) return undefined;
    const { commonName, remote, method, path } = request;
    return {
      user: toText(user.slice(0, USER_BYTES_MAX)),
      cn: toText(commonName),
      remote,
      method: METHODS[method],
      path: toText(path.slice(0, PATH_BYTES_MAX)),
    };
  }

  /** @param reason latin1 bytes */
  write(kind: AuditKind, source: AuditSource | undefined, status: number, reason: string): void {
    if (source === undefined) return;
    assert(this.#isOn, "without an audit log there is no source of a line");
    assert(status >= 200 && status < 600, "a line has the status of its response");
    assert(
      (kind === "denied") === (status === 401),
      "what was denied, and only that, has its status",
    );
    assert(reason !== "", "a line says what was done, or why it was denied");
    const { user, cn, remote, method, path } = source;
    const time = new Date(this.#times.wallMs).toISOString();
    const line = { time, kind, user, cn, remote, method, path, status, reason: toText(reason) };
    this.#send(JSON.stringify(line));
  }
}

function toText(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString("utf8");
}
