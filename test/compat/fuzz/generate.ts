import { Prng } from "../../support/prng.js";
import * as odd from "./odd.js";
import { FORM_TYPE, form, type HttpRequest, plain, requestsOf, type Step } from "./step.js";
import * as usual from "./usual.js";

const WATCHES_MAX = 6;

/** One sequence of requests; the same for the same seed and count. */
export function generate(seed: number, count: number): Step[] {
  return new Generator(new Prng(seed)).steps(count);
}

type Field = readonly [name: string, value: string];

class Generator {
  readonly #prng: Prng;
  #watches: string[] = [];
  #watchCount = 0;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  steps(count: number): Step[] {
    const steps: Step[] = [];
    while (steps.length < count) steps.push(this.#step());
    for (const name of this.#watches) steps.push({ kind: "collect", name });
    steps.push(requestsOf(plain("GET", "/v2/keys/?recursive=true&sorted=true")));
    steps.push(requestsOf(plain("GET", "/v2/stats/store")));
    return steps;
  }

  #step(): Step {
    const at = this.#prng.below(100);
    if (at < 9 && this.#watches.length < WATCHES_MAX) return this.#watch();
    if (at < 12 && this.#watches.length > 0) return this.#collect();
    if (at < 14) return this.#expiring();
    if (at < 20) return requestsOf(this.#other());
    if (at < 23) return requestsOf(this.#members());
    if (at < 26) return requestsOf(plain("GET", "/v2/stats/store"));
    return requestsOf(this.#keys());
  }

  #watch(): Step {
    const name = `watch${this.#watchCount++}`;
    this.#watches.push(name);
    const fields: Field[] = [["wait", this.#often(20) ? "true" : this.#prng.pick(odd.BOOLS)]];
    if (this.#prng.oneIn(2)) fields.push(["recursive", "true"]);
    if (this.#prng.oneIn(3)) fields.push(["stream", "true"]);
    if (this.#prng.oneIn(2)) fields.push(["waitIndex", this.#index(true)]);
    if (this.#prng.oneIn(20)) fields.push(this.#field("GET"));
    const isOnDirectory = this.#prng.oneIn(2);
    if (isOnDirectory && this.#often(3)) fields.push(["recursive", "true"]);
    const path = this.#path(isOnDirectory ? "POST" : "GET");
    const target = `${path}?${this.#encode(this.#prng.shuffled(fields))}`;
    return { kind: "watch", name, request: plain("GET", target) };
  }

  #collect(): Step {
    const name = this.#prng.pick(this.#watches);
    this.#watches = this.#watches.filter((other) => other !== name);
    return { kind: "collect", name };
  }

  /** Nodes that expire, each at its own path, so that their number is known. */
  #expiring(): Step {
    const isAtOnce = this.#often(5);
    const count = isAtOnce ? 1 : 1 + this.#prng.below(3);
    const requests = Array.from({ length: count }, (_, i) => {
      const isAlone = count === 1;
      const ttl = isAtOnce ? this.#prng.pick(["0", "00", "18446744073", "18446744072"]) : "1";
      const fields: Field[] = [["ttl", ttl]];
      fields.push(
        this.#prng.pick<Field>([
          ["dir", "true"],
          ["refresh", "true"],
          ["value", this.#value()],
        ]),
      );
      if (this.#prng.oneIn(4)) fields.push(["prevExist", this.#prng.pick(["true", "false"])]);
      const path = isAlone ? this.#path("PUT") : `/v2/keys/${usual.NAMES[i]}${this.#tail(1)}`;
      const request = form(this.#prng.oneIn(8) ? "POST" : "PUT", path, this.#encode(fields));
      // A node that expires at once may do so before it gets a child.
      const hasChild = !isAtOnce && this.#prng.oneIn(2);
      return hasChild
        ? [request, form("PUT", `${path}${this.#tail(2)}`, "value=child")]
        : [request];
    });
    return { kind: "requests", requests: requests.flat() };
  }

  /** Typical requests of clients. */
  #typical(): HttpRequest {
    const [method, where, parameters] = this.#prng.pick(usual.TYPICAL);
    const path = `/v2/keys${this.#prng.pick(where)}`;
    return method === "PUT" || method === "POST"
      ? form(method, path, parameters)
      : plain(method, `${path}?${parameters}`);
  }

  #keys(): HttpRequest {
    if (this.#prng.oneIn(4)) return this.#typical();
    const method = this.#prng.pick(usual.METHODS);
    const fields = this.#fields(method);
    const path = this.#path(method);
    if (method === "PUT" || method === "POST") return this.#write(method, path, fields);
    const query = this.#encode(fields);
    const target = query === "" ? path : `${path}?${query}`;
    if (this.#prng.oneIn(50)) return { ...form(method, target, this.#encode(this.#fields("PUT"))) };
    return { ...plain(this.#oddly(method), target), headers: this.#headers() };
  }

  #write(method: string, path: string, fields: readonly Field[]): HttpRequest {
    const inQuery: Field[] = [];
    const inBody: Field[] = [];
    const where = this.#prng.below(4);
    for (const field of fields) {
      const isQuery = where === 0 || (where === 1 && this.#prng.oneIn(2));
      (isQuery ? inQuery : inBody).push(field);
    }
    if (this.#prng.oneIn(30)) inQuery.push(...this.#fields("DELETE")); // Some fields twice.
    const query = this.#encode(inQuery);
    const target = query === "" && !this.#prng.oneIn(30) ? path : `${path}?${query}`;
    if (inBody.length === 0 && this.#prng.oneIn(2)) {
      return { ...plain(this.#oddly(method), target), headers: this.#headers() };
    }
    const request = form(this.#oddly(method), target, this.#encode(inBody));
    const type = this.#often(12) ? FORM_TYPE : this.#prng.pick(odd.CONTENT_TYPES);
    const headers = this.#prng.oneIn(40) ? [] : [["Content-Type", type] as const];
    return {
      ...request,
      headers: [...headers, ...this.#headers()],
      isChunked: this.#prng.oneIn(12),
    };
  }

  #other(): HttpRequest {
    const path = this.#prng.pick(usual.OTHER_PATHS);
    const method = this.#often(3) ? "GET" : this.#prng.pick(usual.METHODS);
    // A write to one of the members' paths could be a valid one.
    const isSafe = method === "GET" || method === "HEAD" || !path.startsWith("/v2/members");
    const target = this.#prng.oneIn(6) ? `${path}?a=%zz&wait=x` : path;
    return { ...plain(this.#oddly(isSafe ? method : "GET"), target), headers: this.#headers() };
  }

  /** Writes that are rejected: malformed, with a URL that is taken, or for an unknown member. */
  #members(): HttpRequest {
    const method = this.#prng.pick(["POST", "PUT", "DELETE"]);
    const id = this.#prng.pick(usual.MEMBER_IDS);
    const path = method === "POST" && this.#prng.oneIn(2) ? "/v2/members" : `/v2/members/${id}`;
    const body = this.#prng.pick(odd.MEMBER_BODIES);
    const type = this.#often(4) ? "application/json" : this.#prng.pick(odd.MEMBER_TYPES);
    return { ...form(method, path, body), headers: [["Content-Type", type]] };
  }

  #fields(method: string): Field[] {
    const fields: Field[] = [];
    const isWrite = method === "PUT" || method === "POST";
    if (isWrite && !this.#prng.oneIn(4)) fields.push(["value", this.#value()]);
    for (let n = this.#prng.below(4); n > 0; n--) fields.push(this.#field(method));
    // A success without the node does not show that it expires.
    const isSilent = fields.some(([name]) => name === "noValueOnSuccess");
    const mayExpire = isWrite && !isSilent;
    return this.#prng.shuffled(mayExpire ? fields : fields.map(withoutTime));
  }

  #field(method: string): Field {
    const name = this.#often(15)
      ? this.#prng.pick(usual.FIELDS[method] ?? usual.ALL_FIELDS)
      : this.#prng.pick(usual.ALL_FIELDS);
    switch (name) {
      case "value":
      case "prevValue":
        return [name, this.#value()];
      case "prevIndex":
        return [name, this.#index(false)];
      case "waitIndex":
        return [name, this.#index(true)];
      case "ttl":
        return [name, this.#ttl()];
      case "wait":
        // Open watches have steps of their own.
        return [name, this.#prng.pick(method === "GET" ? ["false", "x", "0", ""] : odd.BOOLS)];
      case "unknown":
        return [this.#prng.pick(["unknown", "", "Value", "value ", "\xff", "ttl[]", "é"]), "1"];
      default:
        return [
          name,
          this.#often(8) ? this.#prng.pick(["true", "false"]) : this.#prng.pick(odd.BOOLS),
        ];
    }
  }

  #value(): string {
    return this.#often(6) ? this.#prng.pick(usual.VALUES) : this.#prng.pick(odd.VALUES);
  }

  #index(mayWait: boolean): string {
    if (this.#prng.oneIn(16)) return this.#prng.pick(odd.HUGE_NUMBERS);
    if (this.#prng.oneIn(20)) return this.#prng.pick(odd.NUMBERS);
    if (this.#prng.oneIn(16)) return this.#prng.pick(["0", "1", "2", "000"]);
    if (!mayWait && this.#often(4)) return "<m+0>";
    if (mayWait && this.#prng.oneIn(3)) return `<i+${this.#prng.below(4)}>`;
    return `<i-${this.#prng.oneIn(3) ? this.#prng.below(40) : this.#prng.below(4)}>`;
  }

  #ttl(): string {
    if (this.#prng.oneIn(6)) return this.#prng.pick(odd.HUGE_TTLS);
    if (this.#prng.oneIn(4)) return this.#prng.pick(odd.NUMBERS);
    // Longer than any run, as the two servers would expire a node at different times.
    return this.#prng.pick(["10000", "20000", "99999", "0030000", ""]);
  }

  /** Below /v2/keys. A POST creates a missing directory. */
  #path(method: string): string {
    if (this.#prng.oneIn(15)) return `/v2/keys${this.#oddTail()}`;
    if (this.#prng.oneIn(12)) return `/v2/keys${this.#tail(this.#prng.below(4))}`;
    const isDirectory = method === "POST" || this.#prng.oneIn(6);
    return `/v2/keys${this.#prng.pick(isDirectory ? usual.DIRECTORIES : usual.FILES)}`;
  }

  #tail(depth: number): string {
    let tail = "";
    for (let n = depth; n > 0; n--) tail += `/${this.#prng.pick(usual.NAMES)}`;
    return this.#prng.oneIn(15) ? `${tail}/` : tail;
  }

  #oddTail(): string {
    let tail = "";
    for (let n = 1 + this.#prng.below(3); n > 0; n--) {
      const segment = this.#prng.oneIn(3)
        ? this.#prng.pick(usual.NAMES)
        : this.#prng.pick(odd.SEGMENTS);
      tail += (this.#prng.oneIn(25) ? "" : "/") + segment;
      if (this.#prng.oneIn(10)) tail += this.#prng.pick(odd.SEGMENTS);
    }
    return tail;
  }

  #encode(fields: readonly Field[]): string {
    const pairs = fields.map(([name, value]) => {
      if (this.#prng.oneIn(60)) return name;
      return `${this.#escape(name)}=${this.#escape(value)}`;
    });
    if (this.#prng.oneIn(40)) pairs.splice(this.#prng.below(pairs.length + 1), 0, this.#oddPair());
    return pairs.join(this.#prng.oneIn(60) ? "&&" : "&");
  }

  /** Escapes, mostly correctly; placeholders of indexes are kept. */
  #escape(text: string): string {
    if (/^<[im]/.test(text)) return text;
    const isRaw = this.#prng.oneIn(10);
    const kept = isRaw
      ? /[^\x21-\x24\x27-\x2a\x2c-\x3a\x3c\x3e-\x7e\x80-\xff]/g
      : /[^A-Za-z0-9._~-]/g;
    const isLower = this.#prng.oneIn(4);
    return text.replace(kept, (character) => {
      if (character === " " && this.#prng.oneIn(2)) return "+";
      const hex = character.charCodeAt(0).toString(16).padStart(2, "0");
      return `%${isLower ? hex : hex.toUpperCase()}`;
    });
  }

  #oddPair(): string {
    return this.#prng.pick(odd.PAIRS);
  }

  #headers(): readonly (readonly [string, string])[] {
    if (this.#often(12)) return [];
    return [this.#prng.pick(odd.HEADERS)];
  }

  #oddly(method: string): string {
    return this.#often(40) ? method : this.#prng.pick(odd.METHODS);
  }

  /** False once in `n` times. */
  #often(n: number): boolean {
    return !this.#prng.oneIn(n);
  }
}

/** Keeps a parameter that is parsed, and rejected if invalid. */
function withoutTime(field: Field): Field {
  return field[0] === "ttl" && /^\d+$/.test(field[1]) ? ["ttl", "3600"] : field;
}
