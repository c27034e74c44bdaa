import { RingdError } from "../lib/errors.js";

/** The operator's mistake, with the exit code etcd gives it. */
export class ConfigError extends RingdError {
  override readonly name = "ConfigError";
  readonly code = "CONFIG_INVALID";
  /** 2: not understood at all; 1: understood and refused. */
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** A combination that cannot be: etcd's wording. */
export function cannotVerify(why: string): ConfigError {
  return new ConfigError(`error verifying flags, ${why}. See 'ringd --help'.`, 1);
}
