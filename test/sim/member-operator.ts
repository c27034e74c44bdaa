import { formatId } from "#ringd/cluster/ids.js";
import { Method } from "#ringd/v2/request.js";
import { ask, type ClientWorld } from "./member-clients.js";
import type { Exchange } from "./member-node.js";

const MEMBERS_MAX = 5;
/** Limit of members added during a run. */
const ADDITIONS_MAX = 4;

/**
 * Grows, by voters and learners, and shrinks the cluster through /v2/members, and has other members
 * lead; one request at a time.
 */
export class SimOperator {
  readonly #world: ClientWorld;
  #isBusy = false;
  #additions = 0;
  /** Additions and removals. */
  changes = 0;
  promotions = 0;
  /** Transfers of leadership. */
  moves = 0;
  refused = 0;

  constructor(world: ClientWorld) {
    this.#world = world;
  }

  act(): void {
    if (this.#isBusy) return;
    const { prng, checks } = this.#world;
    const members = [...checks.members];
    if (members.length > 0 && prng.oneIn(4)) {
      const json = { id: formatId(prng.pick(members)) };
      this.#send(Method.post, "/v2/admin/leader", () => this.moves++, json);
      return;
    }
    if (checks.learners.size > 0 && prng.oneIn(2)) {
      const id = prng.pick([...checks.learners]);
      this.#send(Method.post, `/v2/members/${formatId(id)}/promote`, () => this.promotions++);
      return;
    }
    const mayAdd = members.length < MEMBERS_MAX && this.#additions < ADDITIONS_MAX;
    if (mayAdd && prng.oneIn(2)) {
      this.#additions++;
      const peerURLs = [`http://127.0.0.1:${3000 + this.#additions}`];
      const addition = { peerURLs, isLearner: prng.oneIn(2) };
      this.#send(Method.post, "/v2/members", () => this.changes++, addition);
    } else if (members.length > 1) {
      const path = `/v2/members/${formatId(prng.pick(members))}`;
      this.#send(Method.delete, path, () => this.changes++);
    }
  }

  #send(method: Method, path: string, done: () => void, json?: unknown): void {
    const exchange: Exchange = {
      answer: (status) => {
        if (status >= 200 && status < 300) done();
        else this.refused++;
        this.#isBusy = false;
      },
      chunk: () => {},
      cut: () => {
        this.#isBusy = false;
      },
    };
    const body =
      json === undefined ? {} : { body: { type: "application/json", text: JSON.stringify(json) } };
    if (ask(this.#world, { method, path, ...body }, exchange) !== undefined) this.#isBusy = true;
  }
}
