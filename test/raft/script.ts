import assert from "node:assert/strict";
import { type ConfChangeOp, decodeConfChange } from "#ringd/raft/conf-change.js";
import { type Entry, EntryType } from "#ringd/raft/entry.js";
import type { Message } from "#ringd/raft/message.js";
import { Raft, type Ready } from "#ringd/raft/raft.js";
import { RaftSafetyError } from "#ringd/raft/safety-error.js";
import { SimDisk } from "../sim/raft-disk.js";

/**
 * Runs the scripts in testdata/. A block is commands, a line `----` and their output, up to an
 * empty line; `#` begins a comment. Members are numbers, nothing happens by itself, and a member's
 * election timeout is 10 ticks.
 *
 *   members 1 2 3 [learners 4] [no-prevote] [no-checkquorum]   new members, all in one membership
 *   member 4                            a new one that knows this membership and is not in it
 *   log 1 term T entries t1 t2 ... [commit C]   member 1 restarts with entries of these terms
 *   campaign 1 | tick 1 [n] | propose 1 text | read 1 ctx | transfer 1 to 2 conf 1
 *   addVoter|addLearner|remove 4
 *   ready 1        carries out one ready, except that the disk job stays unfinished
 *   durable 1      finishes the disk jobs
 *   deliver [from 1] [to 2] | drop [from 1] [to 2]    messages on their way
 *   cut 3 | heal   loses all messages from and to 3
 *   settle         ready, durable and deliver until nothing is left to do
 *   crash 1 | restart 1
 *   snapshot 1 [keep n]   takes a snapshot of what is applied and drops the log but for n entries
 *   report 1 peer 2 ok|failed     how a snapshot's transfer ended
 *   unreachable 1 peer 2 | reachable 1 peer 2    the stream to it ended, or opened
 *   status [1] | logs      print
 *   quiet <command>        prints nothing
 */
export function runScript(text: string): string {
  const world = new World();
  const blocks = text.split(/\n\n+/).map((block) => block.trimEnd());
  return `${blocks.map((block) => runBlock(world, block)).join("\n\n")}\n`;
}

function runBlock(world: World, block: string): string {
  const lines = block.split("\n");
  const end = lines.indexOf("----");
  const commands = end < 0 ? lines : lines.slice(0, end);
  if (commands.every((line) => line === "" || line.startsWith("#"))) return commands.join("\n");
  world.out.length = 0;
  for (const line of commands) {
    if (line !== "" && !line.startsWith("#")) world.run(line);
  }
  return [...commands, "----", ...(world.out.length === 0 ? ["ok"] : world.out)].join("\n");
}

interface Member {
  readonly id: number;
  readonly disk: SimDisk;
  raft: Raft | undefined;
  readonly stored: string[];
}

class World {
  readonly out: string[] = [];
  readonly #members = new Map<number, Member>();
  #flights: Message[] = [];
  readonly #cut = new Set<number>();
  #options = { preVote: true, checkQuorum: true };
  #conf: { voters: bigint[]; learners: bigint[] } = { voters: [], learners: [] };

  run(line: string): void {
    const [command = "", ...words] = line.split(/ +/);
    if (command === "quiet") {
      const before = this.out.length;
      this.run(words.join(" "));
      this.out.length = before;
      return;
    }
    this.#run(command, words);
    for (const { raft } of this.#members.values()) raft?.checkInvariants();
  }

  #run(command: string, words: string[]): void {
    const id = Number(words[0]);
    switch (command) {
      case "members":
        this.#createMembers(words);
        return;
      case "member":
        this.#create(id, this.#conf);
        return;
      case "log":
        this.#restartWithLog(id, words);
        return;
      case "campaign":
        if (!this.#raft(id).campaign()) this.out.push(`${id} may not campaign`);
        return;
      case "tick":
        for (let n = Number(words[1] ?? 1); n > 0; n--) this.#raft(id).tick();
        return;
      case "propose":
        this.#print(id, this.#raft(id).propose(Buffer.from(words[1] ?? "")));
        return;
      case "conf": {
        const change = { op: words[1] as ConfChangeOp, member: BigInt(words[2] ?? 0) };
        const context = new Uint8Array(0);
        this.#print(id, this.#raft(id).proposeConfChange({ ...change, context }));
        return;
      }
      case "read":
        assert.ok(this.#raft(id).readIndex(Number(words[1])));
        return;
      case "transfer":
        if (!this.#raft(id).transferLeadership(after(words, "to") ?? 0n)) this.out.push("refused");
        return;
      case "ready":
        this.#ready(id);
        return;
      case "durable":
        this.#durable(id);
        return;
      case "deliver":
      case "drop":
        this.#deliver(after(words, "from"), after(words, "to"), command === "drop");
        return;
      case "cut":
        this.#cut.add(id);
        return;
      case "heal":
        this.#cut.clear();
        return;
      case "settle":
        this.#settle();
        return;
      case "crash":
        this.#crash(id);
        return;
      case "restart":
        this.#start(this.#member(id));
        return;
      case "snapshot":
        this.#snapshot(id, Number(after(words, "keep") ?? 0));
        return;
      case "report":
        this.#raft(id).reportSnapshot(after(words, "peer") ?? 0n, words.includes("ok"));
        return;
      case "unreachable":
        this.#raft(id).reportUnreachable(after(words, "peer") ?? 0n);
        return;
      case "reachable":
        this.#raft(id).reportReachable(after(words, "peer") ?? 0n);
        return;
      case "status":
        if (words.length > 0) this.#status(id);
        else this.#statuses();
        return;
      case "logs":
        this.#logs();
        return;
      default:
        assert.fail(`no command ${command}`);
    }
  }

  #createMembers(words: string[]): void {
    this.#options = {
      preVote: !words.includes("no-prevote"),
      checkQuorum: !words.includes("no-checkquorum"),
    };
    const at = words.indexOf("learners");
    const ids = (list: string[]) => list.filter((word) => /^\d+$/.test(word)).map(BigInt);
    const voters = ids(at < 0 ? words : words.slice(0, at));
    const learners = at < 0 ? [] : ids(words.slice(at));
    this.#conf = { voters, learners };
    for (const member of [...voters, ...learners]) this.#create(Number(member), this.#conf);
  }

  #create(id: number, conf: { voters: bigint[]; learners: bigint[] }): void {
    const snapshot = { index: 0, term: 0, conf };
    const hardState = { term: 0, vote: 0n, commit: 0 };
    const disk = new SimDisk({ hardState, snapshot, entries: [], applied: 0 });
    const member = { id, disk, raft: undefined, stored: [] };
    this.#members.set(id, member);
    this.#start(member);
  }

  #restartWithLog(id: number, words: string[]): void {
    const terms = words.slice(words.indexOf("entries") + 1);
    const end = terms.indexOf("commit");
    const entries = (end < 0 ? terms : terms.slice(0, end)).map(
      (term, i): Entry => ({
        index: i + 1,
        term: Number(term),
        type: EntryType.normal,
        data: new Uint8Array(0),
      }),
    );
    const term = Number(after(words, "term") ?? entries.at(-1)?.term ?? 0);
    const commit = Number(after(words, "commit") ?? 0);
    const snapshot = { index: 0, term: 0, conf: this.#conf };
    const hardState = { term, vote: 0n, commit };
    const disk = new SimDisk({ hardState, snapshot, entries, applied: 0 });
    const member = { id, disk, raft: undefined, stored: [] };
    this.#members.set(id, member);
    this.#start(member);
  }

  #start(member: Member): void {
    member.raft = new Raft({
      id: BigInt(member.id),
      electionTicks: 10,
      heartbeatTicks: 1,
      ...this.#options,
      random: () => 0,
      restored: member.disk.restored(),
      limits: { inflightMessagesMax: 3, appendEntriesMax: 2 },
    });
  }

  #member(id: number): Member {
    const member = this.#members.get(id);
    assert.ok(member !== undefined, `there is no member ${id}`);
    return member;
  }

  #raft(id: number): Raft {
    const { raft } = this.#member(id);
    assert.ok(raft !== undefined, `member ${id} is up`);
    return raft;
  }

  #print(id: number, result: ReturnType<Raft["propose"]>): void {
    if (result.kind === "appended") this.out.push(`${id} appends ${result.index}/${result.term}`);
    else if (result.kind === "forwarded") this.out.push(`${id} forwards to ${result.leader}`);
    else this.out.push(`${id} refuses: ${result.reason}`);
  }

  #ready(id: number): boolean {
    const member = this.#member(id);
    const ready = member.raft?.ready();
    if (ready === undefined || member.raft === undefined) return false;
    this.#printReady(id, ready);
    this.#flights.push(...ready.messages);
    if (ready.append !== undefined) member.disk.add(ready.append);
    for (const entry of ready.committed) {
      if (entry.type === EntryType.confChange) {
        const conf = member.raft.applyConfChange(decodeConfChange(entry.data));
        this.out.push(`${id}   members: ${describeConf(conf)}`);
      }
      member.raft.applied(entry.index);
    }
    return true;
  }

  #printReady(id: number, ready: Ready): void {
    const { softState, append, committed, readStates } = ready;
    if (softState !== undefined) {
      const { role, term, lead } = softState;
      this.out.push(`${id} is ${role} of term ${term}${lead === 0n ? "" : `, leader ${lead}`}`);
    }
    if (append !== undefined) {
      const parts: string[] = [];
      if (append.snapshot !== undefined) parts.push(`snapshot ${describeMeta(append.snapshot)}`);
      if (append.entries.length > 0) parts.push(describeEntries(append.entries));
      if (append.hardState !== undefined) {
        const { term, vote, commit } = append.hardState;
        parts.push(`term ${term} vote ${vote} commit ${commit}`);
      }
      this.out.push(`${id}   job ${append.job}: ${parts.join(", ")}`);
    }
    if (committed.length > 0) this.out.push(`${id}   applies ${describeEntries(committed)}`);
    for (const { ctx, index } of readStates) this.out.push(`${id}   read ${ctx} at ${index}`);
    for (const message of ready.messages) this.out.push(`  ${describe(message)}`);
  }

  #durable(id: number): boolean {
    const { disk, raft } = this.#member(id);
    if (disk.backlog === 0) return false;
    const job = disk.finish(disk.backlog);
    this.out.push(`${id} durable: job ${job}`);
    raft?.durable(job);
    return true;
  }

  #deliver(from: bigint | undefined, to: bigint | undefined, drop: boolean): boolean {
    const matches = (message: Message) =>
      (from === undefined || message.from === from) && (to === undefined || message.to === to);
    const taken = this.#flights.filter(matches);
    this.#flights = this.#flights.filter((message) => !matches(message));
    for (const message of taken) {
      const isCut = this.#cut.has(Number(message.from)) || this.#cut.has(Number(message.to));
      if (!drop && !isCut) this.#step(message);
    }
    return taken.length > 0;
  }

  #step(message: Message): void {
    const member = this.#members.get(Number(message.to));
    try {
      member?.raft?.step(message);
    } catch (error) {
      if (member === undefined || !(error instanceof RaftSafetyError)) throw error;
      this.out.push(`${member.id} stops: ${error.message}`);
      this.#crash(member.id);
    }
  }

  #settle(): void {
    for (let busy = true, rounds = 0; busy; rounds++) {
      assert.ok(rounds < 1000, "the members come to rest");
      busy = false;
      for (const id of this.#members.keys()) {
        while (this.#ready(id)) busy = true;
        if (this.#durable(id)) busy = true;
        while (this.#ready(id)) busy = true;
      }
      if (this.#deliver(undefined, undefined, false)) busy = true;
    }
  }

  /** Loses everything that is not durable. */
  #crash(id: number): void {
    const member = this.#member(id);
    member.raft = undefined;
    member.disk.lose();
  }

  #snapshot(id: number, keep: number): void {
    const raft = this.#raft(id);
    const { applied, conf } = raft.status();
    const meta = { index: applied, term: raft.termOf(applied) ?? 0, conf };
    this.#member(id).disk.saveSnapshot(meta);
    raft.offerSnapshot(meta);
    raft.compact(applied - keep);
    this.out.push(`${id} snapshot ${describeMeta(meta)}, log from ${raft.status().firstIndex}`);
  }

  #status(id: number): void {
    const { peers, conf, transferee } = this.#raft(id).status();
    this.out.push(`${id} members ${describeConf(conf)}${transferee ? ` to ${transferee}` : ""}`);
    for (const peer of peers) {
      const { state, match, next, inflight, learner } = peer;
      const kind = learner ? " learner" : "";
      this.out.push(
        `${id}   ${peer.id}${kind} ${state} match ${match} next ${next} inflight ${inflight}`,
      );
    }
  }

  #statuses(): void {
    for (const { id, raft } of this.#members.values()) {
      if (raft === undefined) {
        this.out.push(`${id} is down`);
        continue;
      }
      const { role, term, lead, commit, lastIndex } = raft.status();
      const leader = lead === 0n ? "" : ` leader ${lead}`;
      this.out.push(`${id} ${role} term ${term}${leader} commit ${commit} last ${lastIndex}`);
    }
  }

  #logs(): void {
    for (const { id, raft } of this.#members.values()) {
      if (raft === undefined) continue;
      const { firstIndex, lastIndex, commit } = raft.status();
      const terms: string[] = [];
      for (let index = firstIndex; index <= lastIndex; index++) {
        terms.push(`${raft.termOf(index)}${index === commit ? "|" : ""}`);
      }
      this.out.push(`${id}: ${firstIndex > 1 ? `(from ${firstIndex}) ` : ""}${terms.join(" ")}`);
    }
  }
}

function after(words: readonly string[], key: string): bigint | undefined {
  const at = words.indexOf(key);
  return at < 0 ? undefined : BigInt(words[at + 1] as string);
}

function describeConf({
  voters,
  learners,
}: {
  voters: readonly bigint[];
  learners: readonly bigint[];
}) {
  return voters.join(" ") + (learners.length === 0 ? "" : ` learners ${learners.join(" ")}`);
}

function describeMeta(meta: { index: number; term: number }): string {
  return `${meta.index}/${meta.term}`;
}

function describeEntries(entries: readonly Entry[]): string {
  return entries.map(describeEntry).join(" ");
}

function describeEntry({ index, term, type, data }: Entry): string {
  if (type === EntryType.confChange) {
    const { op, member } = decodeConfChange(data);
    return `${index}/${term}(${op} ${member})`;
  }
  return data.length === 0 ? `${index}/${term}` : `${index}/${term}"${Buffer.from(data)}"`;
}

function describe(message: Message): string {
  const head = `${message.from}>${message.to} ${message.type}`;
  const inTerm = `${head} t${message.term}`;
  switch (message.type) {
    case "preVote":
      return `${inTerm} last ${message.lastIndex}/${message.lastTerm}`;
    case "vote":
      return `${inTerm} last ${message.lastIndex}/${message.lastTerm}${message.transfer ? " transfer" : ""}`;
    case "preVoteReply":
    case "voteReply":
      return `${inTerm} ${message.granted ? "granted" : "refused"}`;
    case "append": {
      const { prevIndex, prevTerm, commit, entries } = message;
      const what = entries.length === 0 ? "" : ` ${describeEntries(entries)}`;
      return `${inTerm} after ${prevIndex}/${prevTerm} commit ${commit}${what}`;
    }
    case "appendReply":
      return `${inTerm} has ${message.index}`;
    case "appendReject": {
      const { rejectedIndex, hintIndex, hintTerm } = message;
      return `${inTerm} not ${rejectedIndex}, perhaps ${hintIndex}/${hintTerm}`;
    }
    case "heartbeat":
      return `${inTerm} commit ${message.commit} round ${message.round}`;
    case "heartbeatReply":
      return `${inTerm} round ${message.round}`;
    case "snapshot":
      return `${inTerm} ${describeMeta(message.meta)}`;
    case "timeoutNow":
      return inTerm;
    case "forward":
      return `${head} ${message.proposals.map(({ data }) => Buffer.from(data)).join(" ")}`;
    case "forwardOnce": {
      const all = message.proposals.map(({ number, data }) => `${number}:${Buffer.from(data)}`);
      return `${inTerm} from ${message.oldest}: ${all.join(" ")}`;
    }
    case "readIndex":
      return `${head} #${message.request}`;
    case "readIndexReply":
      return `${head} #${message.request} at ${message.index}`;
    case "transfer":
      return `${head} to ${message.target}`;
  }
}
