import { RingdError } from "../../lib/errors.js";

/** Exit codes of etcdctl's v2 commands. */
export const EXIT = {
  ok: 0,
  badArguments: 1,
  badConnection: 2,
  unknownCommand: 3,
  server: 4,
  notHealthy: 5,
  /** `import --detect-v2`. */
  hasContent: 5,
  /** `migrate`. */
  differs: 5,
  /** `health`, and `doctor`, as in etcdctl 3. */
  failed: 1,
  /** `move-leader`, as in etcdctl 3: invalid arguments. */
  badUsage: 128,
  /** Ended by CTRL+C before it was done. */
  interrupted: 130,
  /** The same by SIGTERM. */
  terminated: 143,
} as const;

/** Ends the command: its message goes to standard error, and the process exits with `exitCode`. */
export class Failure extends RingdError {
  override readonly name = "Failure";
  readonly code = "CTL_FAILURE";
  readonly exitCode: number;

  constructor(exitCode: number, text: string) {
    super(text);
    this.exitCode = exitCode;
  }
}

/** An invalid command line, or a failed request of any but a key command: exit code 1. */
export function failure(text: string): Failure {
  return new Failure(EXIT.badArguments, text);
}

/** In the form of key commands, with etcdctl's two spaces. */
export function keyFailure(exitCode: number, text: string): Failure {
  return new Failure(exitCode, `Error:  ${text}`);
}
