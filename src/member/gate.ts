import { guestMay, hasRootRole, type KeyAccess, userMay } from "../auth/access.js";
import { NO_CREDENTIALS } from "../auth/responses.js";
import type { AuthState, KnownUser } from "../auth/state.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { ErrorCode, Refusal } from "../store/refusal.js";
import { writeRefusal } from "../v2/keys-render.js";
import { messageResponse } from "../v2/plain.js";
import type { ApiRequest } from "../v2/request.js";
import type { Audit } from "./audit.js";
import type { Credentials } from "./credentials.js";
import { LIMIT_REACHED, TOO_MANY } from "./limits.js";
import type { ClientPort, ClientRequest } from "./replies.js";
import type { WaitingRequests } from "./waiting-requests.js";

/** Of names and keys in log lines. */
const SHOWN_BYTES_MAX = 256;

const DENIED_CREDENTIALS = cellOf("authDenied", "credentials");
const DENIED_PERMISSION = cellOf("authDenied", "permission");

const KEY_REFUSAL = new Refusal(ErrorCode.unauthorized, "Insufficient credentials", 0);
const KEY_TOO_MANY = new Refusal(ErrorCode.raftInternal, TOO_MANY, 0);

export interface GateParts {
  readonly state: AuthState;
  readonly credentials: Credentials;
  readonly port: ClientPort;
  readonly audit: Audit;
  readonly metrics: MetricCells;
  readonly log: Pick<Logger, "warn">;
  readonly waiting: WaitingRequests;
}

/** The outcome of a question for root's rights. */
export type RootVerdict =
  /** `user` is latin1 bytes; "" while authentication is disabled. */
  | { readonly isAdmitted: true; readonly user: string }
  /** It was answered, or waits for its credentials. */
  | { readonly isAdmitted: false };

type Identity =
  | { readonly kind: "guest" }
  | { readonly kind: "user"; readonly user: KnownUser }
  | { readonly kind: "wrong"; readonly name: string; readonly reason: string };

/** Under which rules a request is refused: with an error of the key space, or a message. */
type Realm = "keys" | "other";

const GUEST_IDENTITY: Identity = { kind: "guest" };
const CLOSED: RootVerdict = { isAdmitted: false };
const OPEN: RootVerdict = { isAdmitted: true, user: "" };

/**
 * Whether a request may do what it wants, by the users and roles that this member has applied
 * (v2http/client_auth.go). Credentials that are not known yet make it wait for the pool; it is
 * handled once more then, from the start.
 */
export class Gate {
  readonly #parts: GateParts;

  constructor(parts: GateParts) {
    this.#parts = parts;
  }

  /** Authentication is disabled. Counted as a look at the switch. */
  admitsAll(): boolean {
    const { state } = this.#parts;
    return !state.isEnabled && !state.lookAtSwitch();
  }

  /** While it is enabled. @returns false if it was answered, or waits */
  admitsKey(client: ClientRequest, request: ApiRequest, access: KeyAccess): boolean {
    const { state } = this.#parts;
    const { key } = access;
    assert(key === "" || key.startsWith("/"), "a key is the root of all keys, or below it");
    const identity = this.#identify(client, request, "keys");
    if (identity === undefined) return false;
    assert(state.isEnabled, "permissions count only while authentication is enabled");
    state.lookAtSwitch();
    switch (identity.kind) {
      case "guest":
        if (guestMay(state, access)) return true;
        this.#warn(
          { "role-name": "guest", key: access.key },
          "invalid access for a guest role on key",
        );
        this.#deny(client, request, "keys", "", "no permission for guest");
        return false;
      case "user": {
        const { name } = identity.user;
        state.lookForUser(name);
        if (userMay(state, identity.user, access)) return true;
        this.#warn({ "user-name": name, key: access.key }, "invalid access for user on key");
        this.#deny(client, request, "keys", name, "no permission");
        return false;
      }
      case "wrong":
        this.#denyWrong(client, request, "keys", identity);
        return false;
    }
  }

  /** Whether the request has the role root, or authentication is disabled. */
  admitsRoot(client: ClientRequest, request: ApiRequest): RootVerdict {
    if (this.admitsAll()) return OPEN;
    const { state } = this.#parts;
    const identity = this.#identify(client, request, "other");
    if (identity === undefined) return CLOSED;
    state.lookAtSwitch();
    switch (identity.kind) {
      case "guest":
        this.#deny(client, request, "other", "", "no credentials");
        return CLOSED;
      case "user": {
        const { name } = identity.user;
        state.lookForUser(name);
        if (hasRootRole(identity.user)) return { isAdmitted: true, user: name };
        this.#warn(
          { "root-user": name, "root-role-name": "root", "resource-path": request.path },
          "a user does not have root role for resource",
        );
        this.#deny(client, request, "other", name, "not root");
        return CLOSED;
      }
      case "wrong":
        this.#denyWrong(client, request, "other", identity);
        return CLOSED;
    }
  }

  /** Whether `step` would do something. */
  hasWork(): boolean {
    return this.#parts.waiting.hasWork();
  }

  /** Handles requests whose credentials are known now. */
  step(): void {
    this.#parts.waiting.step();
  }

  /** Call at the end of each turn of the core. */
  endTurn(): void {
    this.#parts.credentials.endTurn();
  }

  /** The client disconnected. */
  abort(client: ClientRequest): void {
    // The room of a large request is taken until it has a response, whoever reads that.
    if (this.#parts.waiting.drop(client)) this.#parts.port.answerWhole(client, NO_CREDENTIALS);
  }

  /** @returns undefined if the request waits, or there are too many that do */
  #identify(client: ClientRequest, request: ApiRequest, realm: Realm): Identity | undefined {
    const { state, credentials } = this.#parts;
    const { authorization, commonName } = request;
    if (authorization === "") {
      if (commonName === "") return GUEST_IDENTITY;
      const user = state.user(commonName);
      return user === undefined ? GUEST_IDENTITY : { kind: "user", user };
    }
    const known = credentials.look(authorization);
    if (known.kind !== "unknown") return known;
    if (!this.#wait(client, request)) this.#refuseTooMany(client, realm);
    return undefined;
  }

  #wait(client: ClientRequest, request: ApiRequest): boolean {
    const { waiting, credentials } = this.#parts;
    assert(request.authorization !== "", "a request waits for its credentials alone");
    const one = waiting.add(client, request);
    if (one === undefined) return false;
    const isTaken = credentials.verify(request.authorization, () => waiting.known(one));
    assert(one.request !== undefined, "credentials become known in a later turn");
    if (!isTaken) waiting.drop(client);
    return isTaken;
  }

  #refuseTooMany(client: ClientRequest, realm: Realm): void {
    const { metrics, port } = this.#parts;
    metrics.add(LIMIT_REACHED.passwords, 1);
    if (realm === "keys") {
      assert(port.body.length === 0, "a response begins with an empty body");
      port.answer(client, writeRefusal(port.body, KEY_TOO_MANY));
    } else port.answerWhole(client, messageResponse(500, TOO_MANY));
  }

  #denyWrong(
    client: ClientRequest,
    request: ApiRequest,
    realm: Realm,
    { name, reason }: { readonly name: string; readonly reason: string },
  ): void {
    assert(request.authorization !== "", "only credentials that came can be wrong");
    if (name === "") this.#warn({}, "malformed basic auth encoding");
    else {
      this.#parts.state.lookForUser(name);
      this.#warn({ "user-name": name }, "incorrect password");
    }
    this.#deny(client, request, realm, name, reason, true);
  }

  #deny(
    client: ClientRequest,
    request: ApiRequest,
    realm: Realm,
    user: string,
    reason: string,
    hasWrongCredentials = false,
  ): void {
    const { state, audit, metrics, port } = this.#parts;
    assert(state.isEnabled, "nobody is denied anything while authentication is disabled");
    metrics.add(hasWrongCredentials ? DENIED_CREDENTIALS : DENIED_PERMISSION, 1);
    if (realm === "keys") {
      assert(port.body.length === 0, "a response begins with an empty body");
      port.answer(client, { ...writeRefusal(port.body, KEY_REFUSAL), hasWrongCredentials });
    } else {
      const { head, body } = NO_CREDENTIALS;
      port.answerWhole(client, { head: { ...head, hasWrongCredentials }, body });
    }
    audit.write("denied", audit.source(request, user), 401, reason);
  }

  /** Texts are latin1 bytes. */
  #warn(fields: Readonly<Record<string, string>>, line: string): void {
    const entries = Object.entries(fields).map(([name, value]) => [name, shown(value)]);
    this.#parts.log.warn(Object.fromEntries(entries), line);
  }
}

function shown(latin1: string): string {
  return Buffer.from(latin1.slice(0, SHOWN_BYTES_MAX), "latin1").toString("utf8");
}
