import { readdirSync, readFileSync } from "node:fs";

/** Kernel clock ticks per second: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const MICROS_PER_TICK = 1e6 / TICKS_PER_SECOND;

/** Usage of one thread since its start. */
export interface ThreadUsage {
  readonly id: number;
  readonly name: string;
  readonly cpuMicros: number;
}

/** Usage of a process since its start. Times are in steps of 10 ms, so measure over seconds. */
export interface Usage {
  /** utime + stime of the whole process, threads that have ended included. */
  readonly cpuMicros: number;
  /** Voluntary and involuntary switches of the threads alive now. */
  readonly contextSwitches: number;
  readonly threads: readonly ThreadUsage[];
}

export interface Memory {
  readonly rssBytes: number;
  /** Highest resident size so far. */
  readonly peakBytes: number;
}

/**
 * The fields of a `stat` file from field 3 (state) on. The name before them is in brackets and may
 * hold blanks and brackets itself, so the last bracket ends it (proc(5)).
 */
function statFields(path: string): { name: string; fields: readonly string[] } {
  const text = readFileSync(path, "latin1");
  const close = text.lastIndexOf(")");
  return {
    name: text.slice(text.indexOf("(") + 1, close),
    fields: text.slice(close + 2).split(" "),
  };
}

/** proc(5) numbers the fields from 1; `fields` starts with field 3. */
function ticks(fields: readonly string[], ...numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + Number(fields[number - 3]), 0);
}

function switchesOf(status: string): number {
  let sum = 0;
  for (const match of status.matchAll(/ctxt_switches:\s+(\d+)/g)) sum += Number(match[1]);
  return sum;
}

/** @throws if the process has ended */
export function usageOf(pid: number): Usage {
  const cpuMicros = ticks(statFields(`/proc/${pid}/stat`).fields, 14, 15) * MICROS_PER_TICK;
  const threads: ThreadUsage[] = [];
  let contextSwitches = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      const { name, fields } = statFields(`/proc/${pid}/task/${task}/stat`);
      threads.push({
        id: Number(task),
        name,
        cpuMicros: ticks(fields, 14, 15) * MICROS_PER_TICK,
      });
      contextSwitches += switchesOf(readFileSync(`/proc/${pid}/task/${task}/status`, "latin1"));
    } catch (error) {
      // A thread may end between the listing and the reading.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" && code !== "ESRCH") throw error;
    }
  }
  return { cpuMicros, contextSwitches, threads };
}

/** CPU of this process and of its children that have ended and been waited for, in microseconds. */
export function ownCpuMicros(): number {
  return ticks(statFields("/proc/self/stat").fields, 14, 15, 16, 17) * MICROS_PER_TICK;
}

export function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const bytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024;
  return { rssBytes: bytes("VmRSS"), peakBytes: bytes("VmHWM") };
}

/**
 * `after - before`, thread by thread; threads that used nothing are left out, the busiest is first.
 */
export function usageBetween(before: Usage, after: Usage): Usage {
  const earlier = new Map(before.threads.map((thread) => [thread.id, thread.cpuMicros]));
  const threads = after.threads
    .map((thread) => ({
      ...thread,
      cpuMicros: thread.cpuMicros - (earlier.get(thread.id) ?? 0),
    }))
    .filter((thread) => thread.cpuMicros > 0)
    .sort((a, b) => b.cpuMicros - a.cpuMicros);
  return {
    cpuMicros: after.cpuMicros - before.cpuMicros,
    contextSwitches: after.contextSwitches - before.contextSwitches,
    threads,
  };
}
