import { authTarget, handleAuth, needsRoot } from "../auth/requests.js";
import { authFailure, authMessage } from "../auth/responses.js";
import type {
  AuthOutcome,
  AuthScript,
  AuthStep,
  AuthStepResult,
  ScriptContext,
} from "../auth/script.js";
import { AuthState } from "../auth/state.js";
import { assert, unreachable } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import type { Command } from "../store/command.js";
import type { Event } from "../store/event.js";
import type { Refusal } from "../store/refusal.js";
import type { ApiResponse } from "../v2/plain.js";
import type { ApiRequest } from "../v2/request.js";
import type { Audit, AuditSource } from "./audit.js";
import type { Gate } from "./gate.js";
import type { Hashes } from "./hashes.js";
import { LIMIT_REACHED, type MemberLimits, TOO_MANY } from "./limits.js";
import type { Reads } from "./reads.js";
import type { ClientPort, ClientRequest } from "./replies.js";
import type { Space, Underway } from "./space.js";
import type { TurnTimes } from "./times.js";
import { V2Proposal } from "./v2-machine.js";
import type { Writes } from "./writes.js";

const NO_SPACE = "etcdserver: database space exceeded";

export interface AuthParts {
  readonly state: AuthState;
  readonly gate: Gate;
  readonly hashes: Hashes;
  readonly port: ClientPort;
  readonly writes: Writes;
  readonly reads: Reads;
  readonly space: Space;
  readonly underway: Underway;
  readonly times: TurnTimes;
  readonly metrics: MetricCells;
  readonly limits: Pick<MemberLimits, "changesMax">;
  readonly audit: Audit;
  readonly log: Pick<Logger, "info">;
}

/** A change that is being made. */
interface Run {
  readonly client: ClientRequest;
  readonly script: AuthScript;
  readonly source: AuditSource | undefined;
}

/** /v2/auth: users, roles and the switch. Changes go through the log, step by step. */
export class AuthService {
  readonly #parts: AuthParts;
  readonly #context: ScriptContext;
  #open = 0;

  constructor(parts: AuthParts) {
    this.#parts = parts;
    this.#context = { state: parts.state, clusterMs: () => parts.times.clusterMs };
  }

  /** @param path decoded, below /v2/auth */
  handle(client: ClientRequest, request: ApiRequest, path: string): void {
    const { gate, port, limits, metrics, audit } = this.#parts;
    const target = authTarget(path, request.method);
    if (target.kind === "answer") {
      port.answerWhole(client, target.answer);
      return;
    }
    let user = "";
    if (needsRoot(target, request.method)) {
      const verdict = gate.admitsRoot(client, request);
      if (!verdict.isAdmitted) return;
      user = verdict.user;
    }
    const handled = handleAuth(this.#context, target, request);
    if (handled.kind === "answer") {
      port.answerWhole(client, handled.answer);
      return;
    }
    if (this.#open >= limits.changesMax) {
      metrics.add(LIMIT_REACHED.authChanges, 1);
      port.answerWhole(client, tooMany());
      return;
    }
    this.#open++;
    this.#advance(
      { client, script: handled.script, source: audit.source(request, user) },
      undefined,
    );
  }

  #advance(run: Run, result: AuthStepResult): void {
    assert(this.#open > 0, "a change goes on while it is open");
    const next = run.script.next(result);
    if (next.done === true) this.#finish(run, next.value);
    else this.#carryOut(run, next.value);
  }

  #carryOut(run: Run, step: AuthStep): void {
    const { reads, hashes, metrics, times } = this.#parts;
    switch (step.kind) {
      case "confirm":
        reads.add({
          frontend: run.client.frontend,
          startMs: times.monoMs,
          isHealthCheck: false,
          confirmed: () => this.#advance(run, undefined),
          failed: () => this.#end(run, authFailure()),
        });
        return;
      case "hash":
        if (hashes.hash(step.password, (hash) => this.#advance(run, hash))) return;
        metrics.add(LIMIT_REACHED.passwords, 1);
        this.#end(run, tooMany());
        return;
      case "apply":
        this.#propose(run, step.command);
        return;
      default:
        unreachable(step);
    }
  }

  #propose(run: Run, command: Command): void {
    const { space, underway, writes, times } = this.#parts;
    assert(AuthState.concerns(command.path), "a change of users and roles writes their keys alone");
    switch (space.admit(command, underway)) {
      case "admitted":
        writes.propose(
          new AuthWrite(command, times.monoMs, {
            applied: (result) => this.#advance(run, result),
            failed: () => this.#end(run, authFailure()),
          }),
        );
        return;
      case "busy":
        this.#end(run, tooMany());
        return;
      case "full":
        this.#end(run, authMessage(507, NO_SPACE));
        return;
    }
  }

  #finish(run: Run, { answer, change }: AuthOutcome): void {
    if (change !== undefined) {
      const { audit, log } = this.#parts;
      const { text, field, name } = change;
      assert(text !== "", "a change that was made says what it was");
      assert(field !== "" || name === "", "the switch has no name");
      const shown = Buffer.from(name, "latin1").toString("utf8");
      log.info(field === "" ? {} : { [field]: shown }, text);
      audit.write("auth", run.source, answer.head.status, name === "" ? text : `${text}: ${name}`);
    }
    this.#end(run, answer);
  }

  #end({ client }: Run, answer: ApiResponse): void {
    assert(this.#open > 0, "a change ends once");
    this.#open--;
    this.#parts.port.answerWhole(client, answer);
  }
}

function tooMany(): ApiResponse {
  return authMessage(500, TOO_MANY);
}

interface AuthWriteEnds {
  readonly applied: (result: Event | Refusal | undefined) => void;
  readonly failed: () => void;
}

/** One command of a change. */
class AuthWrite extends V2Proposal {
  readonly #ends: AuthWriteEnds;

  constructor(command: Command, startMs: number, ends: AuthWriteEnds) {
    super(command, startMs);
    this.#ends = ends;
  }

  get isRetried(): boolean {
    return true;
  }

  applied(result: Event | Refusal | undefined): void {
    assert(result !== undefined, "every command of a change has a result");
    this.#ends.applied(result);
  }

  failed(): void {
    this.#ends.failed();
  }
}
