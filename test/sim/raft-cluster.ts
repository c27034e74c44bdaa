import assert from "node:assert/strict";
import { blank, bootstrap } from "#ringd/raft/bootstrap.js";
import { type ConfChangeOp, decodeConfChange } from "#ringd/raft/conf-change.js";
import type { Entry } from "#ringd/raft/entry.js";
import type { Message } from "#ringd/raft/message.js";
import { decodeMessage, encodeMessage } from "#ringd/raft/message-codec.js";
import { Raft, type Ready } from "#ringd/raft/raft.js";
import { Prng } from "../support/prng.js";
import { Checks } from "./raft-checks.js";
import { SimDisk } from "./raft-disk.js";

const ELECTION_TICKS = 10;
const NO_CONTEXT = new Uint8Array(0);

/** Rates of faults: 0 is never, n is once in n chances. Drawn per seed. */
interface Faults {
  readonly lose: number;
  readonly repeat: number;
  readonly delayTicksMax: number;
  readonly slowDiskOneIn: number;
  readonly torn: boolean;
  readonly crash: number;
  readonly partition: number;
  readonly oneWay: boolean;
  readonly confChange: number;
  readonly snapshot: number;
  readonly transfer: number;
  readonly skippedTick: number;
}

function drawFaults(prng: Prng): Faults {
  const maybe = (n: number) => (prng.oneIn(2) ? 0 : 1 + prng.below(n));
  return {
    lose: maybe(30),
    repeat: maybe(30),
    delayTicksMax: maybe(8),
    slowDiskOneIn: maybe(4),
    torn: prng.oneIn(2),
    crash: maybe(300) + 40,
    partition: maybe(200),
    oneWay: prng.oneIn(2),
    confChange: maybe(60),
    snapshot: maybe(40),
    transfer: maybe(100),
    skippedTick: maybe(10),
  };
}

interface Node {
  readonly id: bigint;
  readonly disk: SimDisk;
  /** Undefined while it is down. */
  raft: Raft | undefined;
  applied: number;
  state: number;
  /** Read -> the lowest valid read index. */
  reads: Map<number, number>;
}

interface Flight {
  readonly at: number;
  readonly bytes: Uint8Array;
  readonly message: Message;
}

/** A cluster in one thread, from one seed: `step()` as often as wanted, then `settle()`. */
export class SimCluster {
  readonly prng: Prng;
  readonly faults: Faults;
  readonly checks = new Checks();
  readonly nodes: Node[] = [];
  readonly #disks = new Map<bigint, SimDisk>();
  readonly #options: { preVote: boolean; checkQuorum: boolean };
  #flights: Flight[] = [];
  #cut = new Set<string>();
  #now = 0;
  #lastCtx = 0;
  #healed = false;
  #proposals = 0;
  /** Hash of everything sent, equal in two runs of one seed. */
  trace = 0;
  answered = 0;
  elections = 0;
  snapshotsInstalled = 0;

  constructor(seed: number) {
    this.prng = new Prng(seed);
    this.faults = drawFaults(this.prng);
    const founders = this.prng.pick([1, 2, 3, 3, 3, 5, 5]);
    this.#options = { preVote: !this.prng.oneIn(5), checkQuorum: !this.prng.oneIn(5) };
    const first = Array.from({ length: founders }, (_, i) => BigInt(i + 1));
    const members = first.map((id) => ({ id, context: NO_CONTEXT }));
    for (let i = 1; i <= founders + 2; i++) {
      const id = BigInt(i);
      const disk = new SimDisk(i <= founders ? bootstrap(members) : blank());
      this.#disks.set(id, disk);
      const node = { id, disk, raft: undefined, applied: 0, state: 0, reads: new Map() };
      this.nodes.push(node);
    }
    // Bootstrap entries are committed from the start.
    this.checks.committed.push(...bootstrap(members).entries);
    for (const node of this.nodes) this.#start(node);
  }

  #start(node: Node): void {
    const restored = node.disk.restored();
    node.applied = restored.snapshot.index;
    node.state = this.#stateAt(node.applied);
    node.reads = new Map();
    node.raft = new Raft({
      id: node.id,
      electionTicks: ELECTION_TICKS,
      heartbeatTicks: 1 + this.prng.below(3),
      ...this.#options,
      random: (below) => this.prng.below(below),
      restored,
      limits: {
        inflightMessagesMax: 1 + this.prng.below(4),
        inflightBytesMax: 64,
        appendEntriesMax: 2 + this.prng.below(8),
        appendBytesMax: 32,
        committedEntriesMax: 1 + this.prng.below(8),
        uncommittedEntriesMax: 40,
        promoteLagMax: 10,
      },
    });
    this.#carryOut(node);
  }

  #stateAt(index: number): number {
    return index === 0 ? 0 : (this.checks.states[index - 1] as number);
  }

  #crash(node: Node): void {
    node.raft = undefined;
    node.disk.crash(this.prng, this.faults.torn);
  }

  #happens(oneIn: number): boolean {
    return oneIn > 0 && !this.#healed && this.prng.oneIn(oneIn);
  }

  /** One tick of simulated time. */
  step(): void {
    this.#now++;
    this.#makeTrouble();
    this.#deliver();
    for (const node of this.nodes) {
      if (node.raft === undefined) continue;
      if (!this.#happens(this.faults.slowDiskOneIn)) this.#finishDisk(node);
      if (!this.#happens(this.faults.skippedTick)) node.raft.tick();
      this.#carryOut(node);
      if (!this.#healed) this.#askFor(node);
      this.#carryOut(node);
    }
  }

  #makeTrouble(): void {
    for (const node of this.nodes) {
      if (node.raft === undefined) {
        if (!this.#healed && this.prng.oneIn(20)) this.#start(node);
      } else if (this.#happens(this.faults.crash)) {
        this.#crash(node);
      }
    }
    if (this.#happens(this.faults.partition)) this.#partition();
    else if (this.#cut.size > 0 && this.prng.oneIn(40)) this.#cut.clear();
  }

  #partition(): void {
    const side = new Set(this.nodes.filter(() => this.prng.oneIn(2)));
    this.#cut.clear();
    for (const from of this.nodes) {
      for (const to of this.nodes) {
        if (side.has(from) === side.has(to)) continue;
        if (this.faults.oneWay && side.has(from)) continue;
        this.#cut.add(`${from.id}>${to.id}`);
      }
    }
  }

  #node(id: bigint): Node | undefined {
    return this.nodes.find((node) => node.id === id);
  }

  #deliver(): void {
    const due = this.#flights.filter((flight) => flight.at <= this.#now);
    if (due.length === 0) return;
    this.#flights = this.#flights.filter((flight) => flight.at > this.#now);
    for (const { message, bytes } of due) {
      const node = this.#node(message.to);
      const raft = node?.raft;
      const isCut = this.#cut.has(`${message.from}>${message.to}`);
      const arrives = node !== undefined && raft !== undefined && !isCut;
      if (arrives) {
        raft.step(decodeMessage(bytes));
        this.#carryOut(node);
      }
      const sender = this.#node(message.from)?.raft;
      if (message.type === "snapshot") sender?.reportSnapshot(message.to, arrives);
      else if (!arrives && this.prng.oneIn(3)) sender?.reportUnreachable(message.to);
    }
  }

  #finishDisk(node: Node): void {
    const { backlog } = node.disk;
    if (backlog === 0) return;
    node.raft?.durable(node.disk.finish(this.#healed ? backlog : this.prng.below(backlog + 1)));
    this.#checkCommit(node);
  }

  #checkCommit(node: Node): void {
    assert.ok(node.raft !== undefined);
    node.raft.checkInvariants();
    if (node.raft.isLeader) this.checks.leads(node.raft);
    this.checks.commits(node.raft, this.#disks);
  }

  #carryOut(node: Node): void {
    const { raft } = node;
    assert.ok(raft !== undefined);
    this.#checkCommit(node);
    for (let ready = raft.ready(); ready !== undefined; ready = raft.ready()) {
      this.#carryOutOne(node, raft, ready);
      this.#checkCommit(node);
    }
  }

  #carryOutOne(node: Node, raft: Raft, ready: Ready): void {
    if (ready.softState?.role === "leader") this.elections++;
    for (const message of ready.messages) this.#send(message, node.disk);
    if (ready.append !== undefined) {
      this.checks.writes(raft, ready.append.entries);
      const { snapshot } = ready.append;
      if (snapshot !== undefined) {
        this.snapshotsInstalled++;
        node.applied = snapshot.index;
        node.state = this.#stateAt(snapshot.index);
      }
      node.disk.add(ready.append);
    }
    for (const entry of ready.committed) this.#apply(node, raft, entry);
    for (const { ctx, index } of ready.readStates) {
      const least = node.reads.get(ctx);
      assert.ok(least !== undefined, `read ${ctx} is answered twice or was never asked`);
      assert.ok(index >= least, `read ${ctx} got ${index} although ${least} was committed before`);
      node.reads.delete(ctx);
      this.answered++;
    }
  }

  #apply(node: Node, raft: Raft, entry: Entry): void {
    assert.equal(entry.index, node.applied + 1, "entries are applied one after the other");
    node.state = this.checks.applies(node.id, entry, node.state);
    node.applied = entry.index;
    if (entry.type === 1) raft.applyConfChange(decodeConfChange(entry.data));
    raft.applied(entry.index);
  }

  #send(message: Message, disk: SimDisk): void {
    this.checks.sends(message, disk);
    const bytes = encodeMessage(message);
    for (let i = 0; i < bytes.length; i++) {
      this.trace = Math.imul(this.trace ^ (bytes[i] as number), 0x01000193);
    }
    if (this.#happens(this.faults.lose)) {
      if (message.type === "snapshot") {
        // A lost transfer is always noticed: its connection breaks.
        this.#node(message.from)?.raft?.reportSnapshot(message.to, false);
      }
      return;
    }
    const copies = message.type !== "snapshot" && this.#happens(this.faults.repeat) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const { delayTicksMax } = this.faults;
      const delay = this.#healed || delayTicksMax === 0 ? 0 : this.prng.below(delayTicksMax);
      this.#flights.push({ at: this.#now + 1 + delay, bytes, message });
    }
  }

  #askFor(node: Node): void {
    const { raft } = node;
    assert.ok(raft !== undefined);
    if (this.prng.oneIn(3)) this.#propose(raft);
    if (this.prng.oneIn(4)) this.#read(node);
    if (this.#happens(this.faults.confChange)) {
      const op = this.prng.pick<ConfChangeOp>(["addVoter", "addLearner", "remove", "addVoter"]);
      const member = this.prng.pick(this.nodes).id;
      raft.proposeConfChange({ op, member, context: NO_CONTEXT });
    }
    if (this.#happens(this.faults.transfer)) {
      raft.transferLeadership(this.prng.pick(this.nodes).id);
    }
    if (this.#happens(this.faults.snapshot)) this.#takeSnapshot(node, raft);
  }

  #propose(raft: Raft): void {
    this.#proposals++;
    raft.propose(new Uint8Array(new Uint32Array([this.#proposals]).buffer));
  }

  #read(node: Node): void {
    this.#lastCtx++;
    if (node.raft?.readIndex(this.#lastCtx) !== true) return;
    node.reads.set(this.#lastCtx, this.checks.states.length);
  }

  #takeSnapshot(node: Node, raft: Raft): void {
    const { applied } = raft.status();
    const term = raft.termOf(applied);
    if (applied <= node.disk.snapshot.index || term === undefined) return;
    const meta = { index: applied, term, conf: raft.conf };
    node.disk.saveSnapshot(meta);
    raft.offerSnapshot(meta);
    raft.compact(Math.max(0, applied - this.prng.below(10)));
  }

  /**
   * Ends all faults and stops all removed members; then, within `ticksMax`, a new proposal must
   * reach every member, all states be equal and all reads be served.
   */
  settle(ticksMax: number): void {
    this.#healed = true;
    this.#cut.clear();
    for (const node of this.nodes) if (node.raft === undefined) this.#start(node);
    let goal = Number.POSITIVE_INFINITY;
    for (let tick = 0; tick < ticksMax; tick++) {
      this.step();
      const leader = this.#leader();
      if (leader === undefined) continue;
      const { applied, lastIndex } = leader.status();
      if (applied < lastIndex) continue;
      const members = [...leader.conf.voters, ...leader.conf.learners];
      for (const node of this.nodes) {
        const isMember = members.includes(node.id);
        if (isMember && node.raft === undefined) this.#start(node);
        if (!isMember && node.raft !== undefined) this.#crash(node);
      }
      if (goal > lastIndex) {
        const result = leader.propose(new Uint8Array(1));
        if (result.kind === "appended") goal = result.index;
        continue;
      }
      const live = this.nodes.filter((node) => members.includes(node.id));
      const equal = live.every((node) => node.applied >= goal && node.applied === live[0]?.applied);
      if (equal && live.every((node) => node.reads.size === 0)) return;
    }
    assert.fail(`the cluster is not well ${ticksMax} ticks after the faults stopped`);
  }

  #leader(): Raft | undefined {
    let best: Raft | undefined;
    for (const { raft } of this.nodes) {
      if (raft?.isLeader && (best === undefined || raft.term > best.term)) best = raft;
    }
    return best;
  }
}
