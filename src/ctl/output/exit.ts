import { RingdError } from "../../lib/errors.js";

/** Exit codes of etcdctl's v2 commands. */
export const EXIT = {
  ok: 0,
  badArguments: 1,
  badConnection: 2,
  unknownCommand: 3,
  server: 4,
  notHealthy: 5,
} as const;

/** Ends the command: `text` goes to standard error as it is, and the process exits with `exitCode`. */
export class Failure extends RingdError {
  override readonly name = "Failure";
  readonly code = "CTL_FAILURE";
  readonly exitCode: number;

  constructor(exitCode: number, text: string) {
    super(text);
    this.exitCode = exitCode;
  }
}

/** What is wrong with the command line, or with a request that is no key command's: exit code 1. */
export function refused(text: string): Failure {
  return new Failure(EXIT.badArguments, text);
}

/** A failure as key commands print it, with etcdctl's two blanks. */
export function keyFailure(exitCode: number, text: string): Failure {
  return new Failure(exitCode, `Error:  ${text}`);
}
