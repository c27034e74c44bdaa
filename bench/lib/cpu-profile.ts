/** Of a .cpuprofile, as V8 makes it, what is needed here. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }[];
  readonly samples: readonly number[];
  /** Microseconds since the sample before. */
  readonly timeDeltas: readonly number[];
}

/** Share of the profile's time in a function itself, without what it calls. */
export interface SelfTime {
  readonly name: string;
  readonly share: number;
}

/** V8's name for no JavaScript at all, and the functions in which a thread without events sleeps. */
const SLEEPS = /^\(idle\)$|^park ring\/bell/;

function placeOf(url: string): string {
  return url.split("/").slice(-2).join("/").replace(/\.js$/, "");
}

/** The functions of a profile, the longest first; those in which the thread sleeps are one. */
export function selfTimes(profile: CpuProfile): SelfTime[] {
  const names = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const name = functionName === "" ? `anonymous:${lineNumber + 1}` : functionName;
      const full = url === "" ? name : `${name} ${placeOf(url)}`;
      return [id, SLEEPS.test(full) ? "asleep" : full];
    }),
  );
  const micros = new Map<string, number>();
  let total = 0;
  for (const [i, id] of profile.samples.entries()) {
    const took = profile.timeDeltas[i] ?? 0;
    const name = names.get(id) ?? "?";
    micros.set(name, (micros.get(name) ?? 0) + took);
    total += took;
  }
  return [...micros]
    .map(([name, took]) => ({ name, share: took / total }))
    .sort((a, b) => b.share - a.share);
}
