import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { afterEach, beforeEach, test } from "node:test";
import { PeerNetwork } from "./proxy.js";

/** A process that dials a port and connects it to its standard input and output. */
const DIAL = `
  const socket = require("node:net").connect(Number(process.argv[1]), "127.0.0.1");
  process.stdin.pipe(socket).pipe(process.stdout);
  socket.on("error", () => process.exit(1));
  socket.on("close", () => process.exit(0));
`;

/** A member that answers every line with the same line, in upper case. */
class Echo {
  readonly #server: Server;
  heard = "";
  hears: () => void = () => undefined;
  port = 0;

  constructor() {
    this.#server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (bytes) => {
        this.heard += bytes.toString();
        this.hears();
        socket.write(bytes.toString().toUpperCase());
      });
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.port = (this.#server.address() as AddressInfo).port;
  }

  untilHeard(text: string): Promise<void> {
    return new Promise((resolve) => {
      this.hears = () => {
        if (this.heard.includes(text)) resolve();
      };
      this.hears();
    });
  }

  close(): void {
    this.#server.close();
  }
}

class Dialler {
  readonly child: ChildProcess;
  said = "";
  #look: () => void = () => undefined;

  constructor(port: number) {
    this.child = spawn(process.execPath, ["-e", DIAL, String(port)], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    this.child.stdout?.on("data", (bytes) => {
      this.said += bytes;
      this.#look();
    });
  }

  say(text: string): void {
    this.child.stdin?.write(text);
  }

  untilAnswer(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.child.once("exit", () => reject(new Error("the connection ended")));
      this.#look = () => {
        if (this.said.includes(text)) resolve();
      };
      this.#look();
    });
  }
}

let network: PeerNetwork;
let a: Echo;
let b: Echo;
let fromA: Dialler;
let portOfA: number;
let portOfB: number;

beforeEach(async () => {
  network = new PeerNetwork("127.0.0.1");
  a = new Echo();
  b = new Echo();
  await Promise.all([a.listen(), b.listen()]);
  portOfA = await network.add("a", { host: "127.0.0.1", port: a.port }, () => fromA.child.pid);
  portOfB = await network.add("b", { host: "127.0.0.1", port: b.port }, () => undefined);
  fromA = new Dialler(portOfB);
  fromA.say("one ");
  await fromA.untilAnswer("ONE");
});

afterEach(async () => {
  fromA.child.kill("SIGKILL");
  await network.close();
  a.close();
  b.close();
});

/** Resolves after a round trip, so that everything sent before could arrive. */
async function roundTrip(): Promise<void> {
  const socket = connect(b.port, "127.0.0.1");
  socket.write("probe ");
  await once(socket, "data");
  socket.destroy();
}

test("the kernel reports who dialled whom", async () => {
  assert.deepEqual(await network.connections(), ["a>b"]);
});

test("a held link delivers nothing one way, and everything once released", async () => {
  await network.hold("a", "b");
  fromA.say("two ");
  await roundTrip();
  assert.ok(!b.heard.includes("two"));
  network.heal();
  await fromA.untilAnswer("TWO");
  assert.equal(b.heard.replaceAll("probe ", ""), "one two ");
});

test("held the other way, requests arrive and responses do not", async () => {
  await network.hold("b", "a");
  fromA.say("two ");
  await b.untilHeard("two");
  await roundTrip();
  assert.equal(fromA.said, "ONE ");
  network.heal();
  await fromA.untilAnswer("TWO");
});

test("a process that dies behind a held link is noticed only after the release", async () => {
  await network.hold("a", "b");
  const exited = once(fromA.child, "exit");
  fromA.child.kill("SIGKILL");
  await exited;
  await roundTrip();
  assert.equal((await network.connections()).length, 1);
  network.heal();
  while ((await network.connections()).length > 0) await roundTrip();
});

test("healing with a reset ends held connections", async () => {
  await network.hold("a", "b");
  const exited = once(fromA.child, "exit");
  network.heal(true);
  await exited;
});

test("a cut resets open connections and refuses new ones, until it is healed", async () => {
  const exited = once(fromA.child, "exit");
  await network.cut("b", "a");
  await exited;
  fromA = new Dialler(portOfB);
  await once(fromA.child, "exit");
  assert.equal(b.heard, "one ");
  network.heal();
  fromA = new Dialler(portOfB);
  fromA.say("again ");
  await fromA.untilAnswer("AGAIN");
});

test("a cut between two members leaves a third connection alone", async () => {
  await network.cut("b", "c");
  await network.hold("c", "b");
  fromA.say("two ");
  await fromA.untilAnswer("TWO");
});

test("a dialled connection on a held link delivers nothing until the release", async () => {
  fromA.child.kill("SIGKILL");
  await once(fromA.child, "exit");
  await network.hold("a", "b");
  fromA = new Dialler(portOfB);
  fromA.say("hello ");
  while ((await network.connections()).length === 0) await roundTrip();
  assert.ok(!b.heard.includes("hello"));
  network.heal();
  await fromA.untilAnswer("HELLO");
});

test("the proxy of a member that is down refuses connections", async () => {
  a.close();
  const dialler = new Dialler(portOfA);
  await once(dialler.child, "exit");
});
