import { RingdError } from "../lib/errors.js";

/** A configuration error, with etcd's exit code for it. */
export class ConfigError extends RingdError {
  override readonly name = "ConfigError";
  readonly code = "CONFIG_INVALID";
  /** 2: not parsed; 1: parsed and rejected. */
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** An invalid value or combination, in etcd's wording. */
export function cannotVerify(why: string): ConfigError {
  return new ConfigError(`error verifying flags, ${why}. See 'ringd --help'.`, 1);
}
