const DURATION = /^([+-]?)(0|(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$/;
const PART = /([\d.]+)([a-zµμ]+)/gy;
const UNIT_NS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};
const NS_MAX = 2 ** 63;

/** Go's time.ParseDuration, as `1h2m3.5s`. @returns nanoseconds; undefined where Go has an error */
export function parseGoDuration(text: string): bigint | undefined {
  const [, sign, parts] = DURATION.exec(text) ?? [];
  if (parts === undefined) return undefined;
  let sumNs = 0;
  for (const [, amount, unit = ""] of parts.matchAll(PART)) {
    sumNs += Number(amount) * (UNIT_NS[unit] ?? 0);
  }
  if (sumNs >= NS_MAX) return undefined;
  const ns = BigInt(Math.trunc(sumNs));
  return sign === "-" ? -ns : ns;
}
