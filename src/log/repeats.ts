/** Arguments of a log call, in either of pino's forms: with fields or without. */
export type LogInput = readonly unknown[];

const EVERY_MS = 60_000;
/** Kinds kept per text, by peer and reason; the rest share one kind. */
const VARIANTS_MAX = 8;
const TEXTS_MAX = 256;

interface Kind {
  readonly untilMs: number;
  suppressed: number;
  last: LogInput;
  emit: (input: LogInput) => void;
}

/**
 * Passes one line per kind and minute, as overload and faults log by the thousand. The first of a
 * kind passes at once; when its minute ends, one more counts the rest: "...; and 1,234 more like it
 * in the last minute".
 *
 * Lines are of one kind if text (numbers and ids aside), peer and reason are equal.
 */
export class RepeatFilter {
  readonly #monoMs: () => number;
  readonly #kinds = new Map<string, Map<string, Kind>>();
  #sweepMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  readonly #hasTimer: boolean;

  /** @param hasTimer false for a thread without an event loop, which calls `sweep` itself */
  constructor(hasTimer = true, monoMs: () => number = () => performance.now()) {
    this.#hasTimer = hasTimer;
    this.#monoMs = monoMs;
  }

  /**
   * Emits a line, or counts it.
   *
   * @param level part of the kind, like the text
   * @param emit writes a line, now or later
   */
  log(level: number, input: LogInput, emit: (input: LogInput) => void): void {
    const monoMs = this.#monoMs();
    this.sweep(monoMs);
    const variants = this.#variantsOf(`${level} ${general(textOf(input))}`);
    const wanted = variantOf(input[0]);
    const variant = variants.has(wanted) || variants.size < VARIANTS_MAX ? wanted : "";
    const known = variants.get(variant);
    if (known !== undefined) {
      known.suppressed++;
      known.last = input;
      known.emit = emit;
      return;
    }
    emit(input);
    this.#begin(variants, variant, monoMs, input, emit);
  }

  /** Ends minutes that are over. Nearly free when none is. */
  sweep(monoMs: number = this.#monoMs()): void {
    if (monoMs < this.#sweepMs) return;
    this.#sweepMs = Number.POSITIVE_INFINITY;
    for (const [text, variants] of this.#kinds) {
      for (const [variant, kind] of variants) {
        if (monoMs < kind.untilMs) {
          this.#sweepMs = Math.min(this.#sweepMs, kind.untilMs);
          continue;
        }
        variants.delete(variant);
        if (kind.suppressed === 0) continue;
        kind.emit(summary(kind.last, kind.suppressed));
        this.#begin(variants, variant, monoMs, kind.last, kind.emit);
      }
      if (variants.size === 0) this.#kinds.delete(text);
    }
    this.#arm(monoMs);
  }

  #variantsOf(text: string): Map<string, Kind> {
    const name = this.#kinds.has(text) || this.#kinds.size < TEXTS_MAX ? text : "";
    const variants = this.#kinds.get(name) ?? new Map<string, Kind>();
    this.#kinds.set(name, variants);
    return variants;
  }

  #begin(
    variants: Map<string, Kind>,
    variant: string,
    monoMs: number,
    last: LogInput,
    emit: Kind["emit"],
  ): void {
    const untilMs = monoMs + EVERY_MS;
    variants.set(variant, { untilMs, suppressed: 0, last, emit });
    this.#sweepMs = Math.min(this.#sweepMs, untilMs);
    this.#arm(monoMs);
  }

  #arm(monoMs: number): void {
    if (!this.#hasTimer || this.#timer !== undefined || !Number.isFinite(this.#sweepMs)) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.sweep();
      this.#arm(this.#monoMs());
    }, this.#sweepMs - monoMs);
    this.#timer.unref();
  }
}

function textOf(input: LogInput): string {
  const text = typeof input[0] === "string" ? input[0] : input[1];
  return typeof text === "string" ? text : "";
}

/** Peer and reason, from a line's fields. */
function variantOf(fields: unknown): string {
  if (typeof fields !== "object" || fields === null) return "";
  const { peer, url, reason, err } = fields as Record<string, unknown>;
  const code = err instanceof Error ? ((err as NodeJS.ErrnoException).code ?? err.name) : "";
  return [peer, url, general(String(reason ?? "")), code]
    .map((part) => String(part ?? ""))
    .join(" ");
}

/** The text without numbers and ids. */
function general(text: string): string {
  return text.replace(/\b[0-9a-f]{8,}\b|\d+/g, "#");
}

function summary(input: LogInput, suppressed: number): LogInput {
  const more = `; and ${suppressed.toLocaleString("en-US")} more like it in the last minute`;
  if (typeof input[0] === "string") return [input[0] + more, ...input.slice(1)];
  return [input[0], `${textOf(input)}${more}`, ...input.slice(2)];
}
