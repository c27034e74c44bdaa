import { decodeConf } from "#ringd/cluster/conf-state.js";
import { InboxType } from "#ringd/messages/peers.js";
import type { Message } from "#ringd/raft/message.js";
import { encodeMessage } from "#ringd/raft/message-codec.js";
import type { Prng } from "../support/prng.js";
import type { MemberFaults } from "./member-faults.js";
import type { Arrival, PeerPort, SimMember } from "./member-node.js";

/** Longest delay until a member notices that a stream opened or ended. */
const NOTICE_MS = 150;

interface Flight {
  readonly atMs: number;
  readonly from: SimMember;
  readonly to: SimMember;
  readonly type: Message["type"];
  readonly arrival: Arrival;
}

/**
 * The network between peer threads: it loses, repeats, delays and reorders messages, and can be
 * partitioned.
 */
export class SimNetwork implements PeerPort {
  readonly #prng: Prng;
  readonly #faults: MemberFaults;
  readonly #members: ReadonlyMap<bigint, SimMember>;
  readonly #nowMs: () => number;
  #flights: Flight[] = [];
  #earliestMs = Number.POSITIVE_INFINITY;
  /** "from>to" -> arrival of the last message, if order is kept. */
  readonly #lastMs = new Map<string, number>();
  readonly #cut = new Set<string>();
  #isHealed = false;
  /** Hash of everything sent, equal in two runs of one seed. */
  trace = 0;
  messages = 0;

  constructor(
    prng: Prng,
    faults: MemberFaults,
    members: ReadonlyMap<bigint, SimMember>,
    nowMs: () => number,
  ) {
    this.#prng = prng;
    this.#faults = faults;
    this.#members = members;
    this.#nowMs = nowMs;
  }

  heal(): void {
    this.#isHealed = true;
    this.#cut.clear();
  }

  get isCut(): boolean {
    return this.#cut.size > 0;
  }

  mend(): void {
    this.#cut.clear();
  }

  /** Two sides; one-way: only messages from the second side are lost. */
  partition(): void {
    const members = [...this.#members.values()];
    const side = new Set(members.filter(() => this.#prng.oneIn(2)));
    this.#cut.clear();
    for (const from of members) {
      for (const to of members) {
        if (side.has(from) === side.has(to)) continue;
        if (this.#faults.isOneWay && side.has(from)) continue;
        this.#cut.add(`${from.name}>${to.name}`);
      }
    }
  }

  /** Cuts all links of one member. */
  isolate(member: SimMember): void {
    this.#cut.clear();
    for (const { name } of this.#members.values()) {
      this.#cut.add(`${member.name}>${name}`);
      this.#cut.add(`${name}>${member.name}`);
    }
  }

  send(from: SimMember, message: Message, bytes: Uint8Array): void {
    this.messages++;
    for (let i = 0; i < bytes.length; i++) {
      this.trace = Math.imul(this.trace ^ (bytes[i] as number), 0x01000193);
    }
    const to = this.#members.get(message.to);
    if (to === undefined || !hasStream(from, to)) this.#lose(from, message);
    else if (message.type === "snapshot") this.#sendSnapshot(from, to, message);
    else if (this.#happens(this.#faults.loseOneIn)) this.#lose(from, message);
    else {
      // A forwarded write must not be repeated; a stream never repeats messages.
      const mayRepeat = message.type !== "forward";
      const copies = mayRepeat && this.#happens(this.#faults.repeatOneIn) ? 2 : 1;
      for (let i = 0; i < copies; i++) {
        this.#post(from, to, message.type, { type: "message", bytes });
      }
    }
  }

  /** Transfers the newest file, with its own meta. */
  #sendSnapshot(
    from: SimMember,
    to: SimMember,
    message: Extract<Message, { type: "snapshot" }>,
  ): void {
    const file = from.snapshots.newest;
    if (
      file === undefined ||
      file.index < message.meta.index ||
      this.#happens(this.#faults.loseOneIn)
    ) {
      this.#lose(from, message);
      return;
    }
    const { term, index, metadata } = file;
    const conf = decodeConf(Buffer.from(metadata));
    const bytes = encodeMessage({ ...message, meta: { term, index, conf } });
    this.#post(from, to, "snapshot", { type: "snapshot", bytes, file });
  }

  #happens(oneIn: number): boolean {
    return oneIn > 0 && !this.#isHealed && this.#prng.oneIn(oneIn);
  }

  #lose(from: SimMember, { type, to }: Pick<Message, "type" | "to">): void {
    const { life } = from;
    if (life === undefined) return;
    if (type === "snapshot") {
      // A failed transfer is always noticed: its connection breaks.
      life.arrivals.push({ type: "event", event: InboxType.snapshotSent, id: to, value: 0 });
    } else if (this.#prng.oneIn(3)) {
      life.arrivals.push({ type: "event", event: InboxType.overflow, id: to, value: 0 });
    }
  }

  #post(from: SimMember, to: SimMember, type: Message["type"], arrival: Arrival): void {
    const { delayMsMax, isReordering } = this.#faults;
    const delayMs = 1 + this.#prng.below(this.#isHealed ? 2 : delayMsMax);
    let atMs = this.#nowMs() + delayMs + (type === "snapshot" ? this.#prng.below(100) : 0);
    if (!isReordering && type !== "snapshot") {
      const link = `${from.name}>${to.name}`;
      atMs = Math.max(atMs, this.#lastMs.get(link) ?? 0);
      this.#lastMs.set(link, atMs);
    }
    this.#earliestMs = Math.min(this.#earliestMs, atMs);
    this.#flights.push({ atMs, from, to, type, arrival });
  }

  /** @param passedMs since the last call */
  step(passedMs: number): void {
    const nowMs = this.#nowMs();
    if (this.#earliestMs <= nowMs) {
      const due = this.#flights.filter(({ atMs }) => atMs <= nowMs);
      this.#flights = this.#flights.filter(({ atMs }) => atMs > nowMs);
      this.#earliestMs = this.#flights.reduce(
        (least, { atMs }) => Math.min(least, atMs),
        Number.POSITIVE_INFINITY,
      );
      // By time, then by order of sending.
      due.sort((a, b) => a.atMs - b.atMs);
      for (const flight of due) this.#arrive(flight);
    }
    for (const member of this.#members.values()) this.#noticeStreams(member, passedMs);
  }

  #arrive({ from, to, type, arrival }: Flight): void {
    const isCut = this.#cut.has(`${from.name}>${to.name}`);
    const { life } = to;
    if (life === undefined || isCut) {
      this.#lose(from, { type, to: to.id });
      return;
    }
    if (life.removed.has(from.id)) return; // Its stream was closed; #noticeStreams reports it.
    if (type === "snapshot") {
      const value = this.#happens(8) ? 0 : 1;
      from.life?.arrivals.push({
        type: "event",
        event: InboxType.snapshotSent,
        id: to.id,
        value,
      });
      if (value === 0) return;
    }
    life.arrivals.push(arrival);
  }

  #noticeStreams(member: SimMember, passedMs: number): void {
    const { life } = member;
    if (life === undefined) return;
    for (const other of this.#members.values()) {
      if (other === member) continue;
      const isInReach =
        other.life !== undefined &&
        !this.#cut.has(`${member.name}>${other.name}`) &&
        !this.#cut.has(`${other.name}>${member.name}`);
      const isRefused = isInReach && other.life?.removed.has(member.id) === true;
      const isUp = isInReach && !isRefused;
      const isNews = isUp !== life.upPeers.has(other.id) || (isRefused && !life.isToldRemoved);
      if (!isNews || this.#prng.below(NOTICE_MS) > passedMs) continue;
      const tell = (event: number) => {
        const value = event === InboxType.up ? other.config.formatLevel : 0;
        life.arrivals.push({ type: "event", event, id: other.id, value });
      };
      if (isUp) {
        life.upPeers.add(other.id);
        tell(InboxType.up);
      } else if (life.upPeers.delete(other.id)) tell(InboxType.down);
      if (isRefused && !life.isToldRemoved) {
        life.isToldRemoved = true;
        tell(InboxType.removed);
      }
    }
  }
}

/** Either may have opened it: a member that does not know the other yet responds to its stream. */
function hasStream(from: SimMember, to: SimMember): boolean {
  if (from.life === undefined || from.life.removed.has(to.id)) return false;
  return from.life.roster.has(to.id) || to.life?.roster.has(from.id) === true;
}
