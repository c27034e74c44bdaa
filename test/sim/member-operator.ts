import { formatId } from "#ringd/cluster/ids.js";
import { Method } from "#ringd/v2/request.js";
import { ask, type ClientWorld } from "./member-clients.js";
import type { Exchange } from "./member-node.js";

const MEMBERS_MAX = 5;
/** Limit of members added during a run. */
const ADDITIONS_MAX = 4;

/** Grows, by voters and learners, and shrinks the cluster through /v2/members, one request at a time. */
export class SimOperator {
  readonly #world: ClientWorld;
  #isBusy = false;
  #additions = 0;
  accepted = 0;
  refused = 0;
  promotions = 0;

  constructor(world: ClientWorld) {
    this.#world = world;
  }

  act(): void {
    if (this.#isBusy) return;
    const { prng, checks } = this.#world;
    const members = [...checks.members];
    if (checks.learners.size > 0 && prng.oneIn(3)) {
      const id = prng.pick([...checks.learners]);
      this.#send(Method.post, `/v2/members/${formatId(id)}/promote`);
      return;
    }
    const mayAdd = members.length < MEMBERS_MAX && this.#additions < ADDITIONS_MAX;
    if (mayAdd && prng.oneIn(2)) {
      this.#additions++;
      const peerURLs = [`http://127.0.0.1:${3000 + this.#additions}`];
      const body = {
        type: "application/json",
        text: JSON.stringify({ peerURLs, isLearner: prng.oneIn(2) }),
      };
      this.#send(Method.post, "/v2/members", body);
    } else if (members.length > 1) {
      this.#send(Method.delete, `/v2/members/${formatId(prng.pick(members))}`);
    }
  }

  #send(method: Method, path: string, body?: { type: string; text: string }): void {
    const exchange: Exchange = {
      answer: (status) => {
        if (status === 200) this.promotions++;
        else if (status === 201 || status === 204) this.accepted++;
        else this.refused++;
        this.#isBusy = false;
      },
      chunk: () => {},
      cut: () => {
        this.#isBusy = false;
      },
    };
    const request = body === undefined ? { method, path } : { method, path, body };
    if (ask(this.#world, request, exchange) !== undefined) this.#isBusy = true;
  }
}
