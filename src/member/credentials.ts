import { createHmac, randomBytes } from "node:crypto";
import { readBasic } from "../auth/basic.js";
import type { AuthState, KnownUser } from "../auth/state.js";
import { assert } from "../lib/assert.js";
import { HASH_JOBS_MAX, type Hashes } from "./hashes.js";

/** Verified credentials that are remembered: more than a member has users, in several spellings. */
const VERIFIED_MAX = 16_384;
/** Wrong ones, so that a client with an old password costs one comparison and not thousands. */
const WRONG_MAX = 4096;
const KEY_BYTES = 32;
/** Of a bcrypt hash: version, cost, salt, checksum. */
const HASH_CHARACTERS = 60;

/** What is known of an Authorization header. */
export type Credential =
  | { readonly kind: "user"; readonly user: KnownUser }
  /** `name` is the user that was claimed; "" for another scheme. */
  | { readonly kind: "wrong"; readonly name: string; readonly reason: string }
  /** A comparison will tell: see `verify`. */
  | { readonly kind: "unknown" };

const UNKNOWN: Credential = { kind: "unknown" };
const MALFORMED: Credential = { kind: "wrong", name: "", reason: "malformed credentials" };

/** The user that a header was compared for, and the hash that it was compared with. */
interface Compared {
  readonly name: string;
  readonly hash: string;
}

/**
 * Remembers which credentials were verified, as a comparison takes tens of milliseconds. Neither
 * passwords nor anything that can be computed from them without this process's random key is kept.
 * What is remembered holds as long as the user's hash is the one that it was compared with.
 */
export class Credentials {
  readonly #state: AuthState;
  readonly #hashes: Hashes;
  readonly #noHash: string;
  readonly #key = randomBytes(KEY_BYTES);
  /** Of the last request in this turn of the core: most batches have one client's credentials. */
  #lastHeader = "";
  #lastDigest = "";
  /** By digest of the header, oldest first. */
  readonly #verified = new Map<string, Compared>();
  readonly #wrong = new Map<string, Compared>();
  /** Comparisons in progress, by digest, with those that wait for their outcome. */
  readonly #waiting = new Map<string, (() => void)[]>();

  /** @param bcryptCost of new hashes: a user that does not exist takes as long */
  constructor(state: AuthState, hashes: Hashes, bcryptCost: number) {
    this.#state = state;
    this.#hashes = hashes;
    this.#noHash = hashOfNobody(bcryptCost);
  }

  look(header: string): Credential {
    assert(header !== "", "a request without the header is a guest's, or of a certificate");
    const digest = this.#digest(header);
    const verified = this.#verified.get(digest);
    if (verified !== undefined) {
      const user = this.#state.user(verified.name);
      if (user !== undefined && user.hash === verified.hash) return { kind: "user", user };
      this.#verified.delete(digest);
    }
    const wrong = this.#wrong.get(digest);
    if (wrong !== undefined) {
      const { name } = wrong;
      if (this.#hashOf(name) === wrong.hash) {
        return { kind: "wrong", name, reason: "wrong user name or password" };
      }
      this.#wrong.delete(digest);
    }
    return readBasic(header) === undefined ? MALFORMED : UNKNOWN;
  }

  /**
   * Has credentials compared that `look` does not know.
   *
   * @param onKnown called later, when it does
   * @returns false if too many comparisons wait
   */
  verify(header: string, onKnown: () => void): boolean {
    const digest = this.#digest(header);
    const waiting = this.#waiting.get(digest);
    if (waiting !== undefined) {
      waiting.push(onKnown);
      return true;
    }
    const basic = readBasic(header);
    assert(basic !== undefined, "malformed credentials are wrong without a comparison");
    const { user: name, password } = basic;
    const hash = this.#hashOf(name);
    const isTaken = this.#hashes.compare(hash, password, (isEqual) => {
      if (isEqual && hash !== this.#noHash)
        keep(this.#verified, digest, { name, hash }, VERIFIED_MAX);
      else keep(this.#wrong, digest, { name, hash }, WRONG_MAX);
      const calls = this.#waiting.get(digest);
      assert(calls !== undefined, "a comparison has one outcome, which comes in a later turn");
      assert(calls.length > 0, "credentials are compared for a request that waits");
      this.#waiting.delete(digest);
      for (const call of calls) call();
    });
    assert(!this.#waiting.has(digest), "credentials are compared once at a time");
    if (isTaken) this.#waiting.set(digest, [onKnown]);
    assert(this.#waiting.size <= HASH_JOBS_MAX, "each comparison that is awaited is a job");
    return isTaken;
  }

  /** Forgets the header of the last request, which has a password. */
  endTurn(): void {
    this.#lastHeader = "";
  }

  /** Of a user that does not exist: one that no password has. */
  #hashOf(name: string): string {
    return this.#state.user(name)?.hash ?? this.#noHash;
  }

  #digest(header: string): string {
    if (header === this.#lastHeader) return this.#lastDigest;
    this.#lastHeader = header;
    this.#lastDigest = createHmac("sha256", this.#key).update(header, "latin1").digest("binary");
    return this.#lastDigest;
  }
}

function keep(map: Map<string, Compared>, digest: string, compared: Compared, most: number): void {
  map.delete(digest);
  map.set(digest, compared);
  assert(map.size <= most + 1, "what is remembered grows by one at a time, and is bounded");
  if (map.size <= most) return;
  for (const oldest of map.keys()) {
    assert(oldest !== digest, "the newest is not forgotten before older ones");
    map.delete(oldest);
    return;
  }
}

/** Comparing with it takes as long as with a user's. */
function hashOfNobody(bcryptCost: number): string {
  assert(bcryptCost >= 4 && bcryptCost <= 31, "the cost is one that bcrypt has");
  const hash = `$2a$${String(bcryptCost).padStart(2, "0")}$${".".repeat(53)}`;
  assert(hash.length === HASH_CHARACTERS, "it is as long as a user's hash, or would be rejected");
  return hash;
}
