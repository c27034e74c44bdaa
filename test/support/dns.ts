import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

const SRV = 33;
const NO_SUCH_NAME = 3;

export interface TestSrv {
  readonly port: number;
  readonly target: string;
  readonly priority?: number;
  readonly weight?: number;
}

/** A DNS server on a UDP port of this machine that knows SRV records. */
export class TestDns {
  readonly records = new Map<string, readonly TestSrv[]>();
  readonly asked: string[] = [];
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("message", (query, { port, address }) => {
      socket.send(this.#answer(query), port, address);
    });
  }

  static async start(): Promise<TestDns> {
    const socket = createSocket("udp4").bind(0, "127.0.0.1");
    await once(socket, "listening");
    return new TestDns(socket);
  }

  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  /** NODE_OPTIONS of a process that asks this server. */
  get nodeOptions(): string {
    const code = `import{setServers}from"node:dns";setServers([${JSON.stringify(this.address)}])`;
    return `--import=data:text/javascript;base64,${Buffer.from(code).toString("base64")}`;
  }

  close(): void {
    this.#socket.close();
  }

  #answer(query: Buffer): Buffer {
    const labels: string[] = [];
    let at = 12;
    for (let bytes = query[at] ?? 0; bytes > 0; bytes = query[at] ?? 0) {
      labels.push(query.toString("latin1", at + 1, at + 1 + bytes));
      at += 1 + bytes;
    }
    const name = labels.join(".").toLowerCase();
    this.asked.push(name);
    const type = query.readUInt16BE(at + 1);
    const found = this.records.get(name);
    const records = type === SRV ? (found ?? []) : [];
    const head = Buffer.alloc(12);
    head.writeUInt16BE(query.readUInt16BE(0), 0);
    head.writeUInt16BE(0x8180 | (found === undefined ? NO_SUCH_NAME : 0), 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(records.length, 6);
    return Buffer.concat([head, query.subarray(12, at + 5), ...records.map(recordBytes)]);
  }
}

function recordBytes({ port, target, priority = 0, weight = 0 }: TestSrv): Buffer {
  const data = Buffer.concat([uint16(priority), uint16(weight), uint16(port), nameBytes(target)]);
  // The name is a pointer to the question's.
  return Buffer.concat([
    uint16(0xc00c),
    uint16(SRV),
    uint16(1),
    Buffer.from([0, 0, 0, 0]),
    uint16(data.length),
    data,
  ]);
}

function nameBytes(name: string): Buffer {
  const labels = name.split(".").filter((label) => label !== "");
  const parts = labels.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`));
  return Buffer.concat([...parts, Buffer.from([0])]);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}
