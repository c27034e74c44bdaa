import { Session } from "node:inspector";
import fc from "fast-check";

/**
 * A fuzzer on top of fast-check: inputs are mutants of a corpus, or any bytes; what fails is
 * shrunk. With coverage, inputs that reach code that none before has reached join the corpus.
 */

export interface FuzzTarget {
  readonly name: string;
  /** Checks what holds for any input. @throws Error for a finding */
  readonly run: (input: Buffer) => void;
  /** The same with a bug planted in what is tested: the fuzzer must find it. */
  readonly planted: (input: Buffer) => void;
}

export interface FuzzOptions {
  readonly seed: number;
  /** Ends after so many inputs. */
  readonly inputsMax?: number;
  /** Ends at this time of `performance.now`. */
  readonly untilMs?: number;
  readonly hasCoverage: boolean;
  /** Not empty. */
  readonly corpus: readonly Buffer[];
}

export interface FuzzResult {
  readonly inputs: number;
  /** Inputs that reached new code; empty without coverage. */
  readonly found: readonly Buffer[];
  readonly failure: { readonly input: Buffer; readonly error: unknown } | undefined;
}

/** Inputs between two looks at the coverage. */
const ROUND = 400;
const INPUT_BYTES_MAX = 1 << 16;
/** An input that takes longer is a finding: others are served by the same thread. */
const SLOW_MS = 3000;

class SlowInputError extends Error {
  override readonly name = "SlowInputError";
}

export function fuzz(run: FuzzTarget["run"], options: FuzzOptions): FuzzResult {
  const corpus = [...options.corpus];
  const coverage = options.hasCoverage ? new Coverage() : undefined;
  const found: Buffer[] = [];
  let inputs = 0;
  try {
    if (coverage !== undefined) for (const input of corpus) coverage.isNew(() => tried(run, input));
    for (let round = 0; ; round++) {
      const isOver = inputs >= (options.inputsMax ?? Number.POSITIVE_INFINITY);
      if (isOver || performance.now() > (options.untilMs ?? Number.POSITIVE_INFINITY)) break;
      const tries: Buffer[] = [];
      const property = fc.property(inputsFrom(corpus), (input) => {
        tries.push(input);
        timed(run, input);
      });
      const outcome = fc.check(property, { seed: options.seed + round, numRuns: ROUND });
      inputs += tries.length;
      if (outcome.failed) {
        const input = outcome.counterexample?.[0] as Buffer;
        return { inputs, found, failure: { input, error: outcome.errorInstance } };
      }
      if (coverage?.hasGrown() !== true) continue;
      coverage.forget();
      const news = coverage.thatReachNew(tries, (input) => tried(run, input));
      corpus.push(...news);
      found.push(...news);
    }
    return { inputs, found, failure: undefined };
  } finally {
    coverage?.end();
  }
}

function timed(run: FuzzTarget["run"], input: Buffer): void {
  const startMs = performance.now();
  run(Buffer.from(input));
  const ms = performance.now() - startMs;
  if (ms > SLOW_MS) throw new SlowInputError(`${input.length} bytes took ${Math.round(ms)} ms`);
}

function tried(run: FuzzTarget["run"], input: Buffer): void {
  try {
    run(Buffer.from(input));
  } catch {
    // A finding of its own round.
  }
}

/** Byte sequences that decoders treat specially. */
const SPECIAL: readonly string[] = [
  ...["\0", "\xff", "\xff\xff\xff\xff", "\0\0\0\0", "\x7f\xff\xff\xff", "\x80\0\0\0", "\x01\0\0\0"],
  ...["%00", "%2e%2e", "%2f", "%2B", "%zz", "%", "/../", "//", "/", "&", "=", ";", "+", "\r\n"],
  ...["\n", "\r", " ", "\t", ":", ",", "[", "]", "{", "}", '"', "\\", "\\u0000", "null", "true"],
  ...["0", "-1", "00", "1e9", "9007199254740993", "18446744073709551616", "4294967296", "0x10"],
  ...["__proto__", "constructor", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80"],
];

type Change = (input: Buffer, corpus: readonly Buffer[]) => Buffer;

const place = fc.nat(0xffff);
const CHANGES: fc.Arbitrary<Change> = fc.oneof(
  fc.tuple(place, fc.nat(255)).map(([at, byte]) => (input: Buffer) => {
    const changed = Buffer.from(input);
    if (changed.length > 0) changed[at % changed.length] = byte;
    return changed;
  }),
  fc.tuple(place, fc.constantFrom(...SPECIAL)).map(([at, text]) => (input: Buffer) => {
    const from = at % (input.length + 1);
    return splice(input, from, from, Buffer.from(text, "latin1"));
  }),
  fc.tuple(place, fc.constantFrom(...SPECIAL)).map(([at, text]) => (input: Buffer) => {
    const bytes = Buffer.from(text, "latin1");
    const from = at % (input.length + 1);
    return splice(input, from, from + bytes.length, bytes);
  }),
  // A run of digits becomes another number.
  fc.tuple(place, fc.bigInt(0n, 2n ** 65n)).map(([at, number]) => (input: Buffer) => {
    const runs = [...input.toString("latin1").matchAll(/\d+/g)];
    const run = runs[at % Math.max(1, runs.length)];
    if (run === undefined) return input;
    return splice(input, run.index, run.index + run[0].length, Buffer.from(String(number)));
  }),
  fc.tuple(place, fc.nat(32)).map(([at, length]) => (input: Buffer) => {
    const from = at % (input.length + 1);
    return splice(input, from, from + length, Buffer.alloc(0));
  }),
  fc.tuple(place, fc.nat(64), fc.nat(40)).map(([at, length, times]) => (input: Buffer) => {
    const from = at % (input.length + 1);
    const part = input.subarray(from, from + length);
    return splice(input, from, from, Buffer.concat(Array.from({ length: times }, () => part)));
  }),
  fc
    .tuple(place, place, place)
    .map(([which, at, from]) => (input: Buffer, all: readonly Buffer[]) => {
      const other = all[which % all.length] as Buffer;
      const start = from % (other.length + 1);
      return Buffer.concat([input.subarray(0, at % (input.length + 1)), other.subarray(start)]);
    }),
);

function splice(input: Buffer, from: number, to: number, by: Buffer): Buffer {
  return Buffer.concat([input.subarray(0, from), by, input.subarray(to)]);
}

function inputsFrom(corpus: readonly Buffer[]): fc.Arbitrary<Buffer> {
  const mutants = fc
    .tuple(fc.nat(corpus.length - 1), fc.array(CHANGES, { minLength: 1, maxLength: 6 }))
    .map(([which, changes]) => {
      let input = corpus[which] as Buffer;
      for (const change of changes) input = change(input, corpus);
      return Buffer.from(input.subarray(0, INPUT_BYTES_MAX));
    });
  const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
  return fc.oneof({ weight: 9, arbitrary: mutants }, { weight: 1, arbitrary: bytes });
}

interface CoveredScript {
  readonly url: string;
  readonly functions: readonly {
    readonly ranges: readonly { startOffset: number; endOffset: number; count: number }[];
  }[];
}

/** V8's block coverage of ringd's own files. */
class Coverage {
  readonly #session = new Session();
  readonly #seen = new Set<string>();
  #last = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#post("Profiler.enable");
    this.#post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Whether code was reached since the last look that was never before. */
  hasGrown(): boolean {
    this.#last = new Set(this.#take().filter((block) => !this.#seen.has(block)));
    for (const block of this.#last) this.#seen.add(block);
    return this.#last.size > 0;
  }

  /** Counts what the last look found as not seen, to find out who reached it. */
  forget(): void {
    for (const block of this.#last) this.#seen.delete(block);
  }

  /** Whether a call reaches code that was never reached before. */
  isNew(call: () => void): boolean {
    this.#take();
    call();
    return this.hasGrown();
  }

  /** Those of the inputs that do, found by halves, as a look costs as much as a hundred inputs. */
  thatReachNew(inputs: readonly Buffer[], run: (input: Buffer) => void): readonly Buffer[] {
    if (!this.isNew(() => inputs.forEach(run)) || inputs.length === 1) {
      return this.#last.size > 0 ? inputs : [];
    }
    this.forget();
    const half = inputs.length >>> 1;
    const first = this.thatReachNew(inputs.slice(0, half), run);
    return [...first, ...this.thatReachNew(inputs.slice(half), run)];
  }

  end(): void {
    this.#post("Profiler.stopPreciseCoverage");
    this.#session.disconnect();
  }

  #take(): string[] {
    const { result } = this.#post("Profiler.takePreciseCoverage") as { result: CoveredScript[] };
    return result
      .filter(({ url }) => url.includes("/dist/") && !url.includes("/dist/test/"))
      .flatMap(({ url, functions }) =>
        functions.flatMap(({ ranges }) =>
          ranges
            .filter(({ count }) => count > 0)
            .map(({ startOffset, endOffset }) => `${url}:${startOffset}-${endOffset}`),
        ),
      );
  }

  /** In-process, the answer comes before `post` returns. */
  #post(method: string, parameters: object = {}): unknown {
    let answer: unknown;
    this.#session.post(method, parameters, (error, result) => {
      if (error !== null) throw error;
      answer = result;
    });
    return answer;
  }
}
