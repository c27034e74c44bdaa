import type { Command } from "../store/command.js";
import type { Event } from "../store/event.js";
import { ErrorCode, Refusal } from "../store/refusal.js";
import type { ApiResponse } from "../v2/plain.js";
import type { AuthState } from "./state.js";

/**
 * A change of users, roles or the switch takes several steps that the member carries out, in order.
 * A step that fails ends it.
 */
export type AuthStep =
  /** Wait until the state has all that was committed before. */
  | { readonly kind: "confirm" }
  /** Hash a password; the result is the hash. */
  | { readonly kind: "hash"; readonly password: string }
  /** Propose a command; the result is what it did when it was applied. */
  | { readonly kind: "apply"; readonly command: Command };

export type AuthStepResult = undefined | string | Event | Refusal;

export interface AuthOutcome {
  readonly answer: ApiResponse;
  /** What was changed, in etcd's words; undefined if nothing was. */
  readonly change: AuthEvent | undefined;
}

/** For the log and the audit log. */
export interface AuthEvent {
  readonly text: string;
  /** etcd's name of the field that names what was changed; "" for the switch. */
  readonly field: "user-name" | "role-name" | "";
  /** Latin1 bytes. */
  readonly name: string;
}

export type AuthScript = Generator<AuthStep, AuthOutcome, AuthStepResult>;

export interface ScriptContext {
  readonly state: AuthState;
  /** The cluster's time, for commands. */
  readonly clusterMs: () => number;
}

/** A script's parts. They may be used within any script. */
export type AuthPart<T> = Generator<AuthStep, T, AuthStepResult>;

export function refused(answer: ApiResponse): AuthOutcome {
  return { answer, change: undefined };
}

export function* confirm(): AuthPart<void> {
  yield { kind: "confirm" };
}

export function* hash(password: string): AuthPart<string> {
  const result = yield { kind: "hash", password };
  return typeof result === "string" ? result : "";
}

/** @returns why it was refused; undefined if it was applied */
export function* apply(command: Command): AuthPart<ErrorCode | undefined> {
  const result = yield { kind: "apply", command };
  return result instanceof Refusal ? result.code : undefined;
}

export const { nodeExists: EXISTS, keyNotFound: MISSING, compareFailed: CHANGED } = ErrorCode;
