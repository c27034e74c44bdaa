import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** Not dialled by a member. */
const STRANGER = "?";

/**
 * The network between members: each advertises a proxy of this class as its peer URL, so that every
 * byte between two members passes here and can be held or cut, per ordered pair.
 *
 *   n1 --dials--> [proxy of n2] --> listener of n2      bytes of a connection flow both ways:
 *      <------------------------------                  n1 > n2 and n2 > n1 are two links
 *
 * The dialling process is looked up in /proc (the owner of the socket's other end), so it works for
 * any protocol, for etcd and ringd, without root.
 *
 * - `hold`: what one member sends to the other does not arrive, nor do ends of connections. Both
 *   sides believe the connection is fine: packets dropped without a word. `release` delivers what
 *   TCP would have sent again; or resets, as if one side had given up.
 * - `cut`: connections between two members are reset and new ones refused.
 */
export class PeerNetwork {
  readonly #address: string;
  readonly #proxies = new Map<string, Proxy>();
  /** Links `from>to` that deliver nothing. */
  readonly #held = new Set<string>();
  /** Links `a>b`, both ways, on which connections are refused. */
  readonly #cut = new Set<string>();
  #asking: Promise<void> | undefined;
  #askAgainMs = 0;

  /** @param address of this machine, for the proxies to listen on */
  constructor(address: string) {
    this.#address = address;
  }

  /**
   * Opens the proxy of one member.
   *
   * @param target the member's own listen address
   * @param pid of its process now; undefined while there is none
   * @returns the port to advertise
   */
  async add(
    name: string,
    target: Endpoint,
    pid: () => number | undefined,
    port = 0,
  ): Promise<number> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    const proxy: Proxy = { name, server, target, pid, connections: new Set() };
    server.on("connection", (dialled) => this.#accept(proxy, dialled));
    server.listen(port, this.#address);
    await once(server, "listening");
    this.#proxies.set(name, proxy);
    return (server.address() as AddressInfo).port;
  }

  /** Resolves when it is in force. */
  async hold(from: string, to: string): Promise<void> {
    this.#held.add(link(from, to));
    await this.#enforce();
  }

  /** Resolves when it is in force. */
  async cut(a: string, b: string): Promise<void> {
    this.#cut.add(link(a, b));
    this.#cut.add(link(b, a));
    await this.#enforce();
  }

  /** Ends all holds and cuts. @param isReset reset held connections instead of delivering late */
  heal(isReset = false): void {
    const wasHeld = new Set(this.#held);
    this.#held.clear();
    this.#cut.clear();
    for (const { name, connections } of this.#proxies.values()) {
      for (const connection of connections) {
        const { dialler } = connection;
        if (!isReset || dialler === undefined) continue;
        if (wasHeld.has(link(dialler, name)) || wasHeld.has(link(name, dialler))) reset(connection);
      }
    }
    this.#update();
  }

  /** The open connections as `from>to`: who dialled whom. */
  async connections(): Promise<string[]> {
    await this.#identify();
    return this.#all.map(({ dialler, proxy }) => link(dialler ?? STRANGER, proxy.name));
  }

  async close(): Promise<void> {
    const closed: Promise<unknown>[] = [];
    for (const { server, connections } of this.#proxies.values()) {
      closed.push(once(server.close(), "close"));
      for (const connection of connections) reset(connection);
    }
    await Promise.all(closed);
  }

  #accept(proxy: Proxy, dialled: Socket): void {
    const connection: Connection = {
      proxy,
      dialled,
      onward: undefined,
      dialler: undefined,
      forth: new Flow(dialled),
      back: undefined,
    };
    proxy.connections.add(connection);
    dialled.once("close", () => forget(connection));
    this.#update([connection]);
    void this.#identify();
  }

  get #all(): Connection[] {
    return [...this.#proxies.values()].flatMap(({ connections }) => [...connections]);
  }

  /** Resolves when the rules apply to every open connection. */
  async #enforce(): Promise<void> {
    this.#update();
    await this.#identify();
  }

  #update(connections = this.#all): void {
    const hasRules = this.#held.size + this.#cut.size > 0;
    for (const connection of connections) {
      const { dialler, proxy, forth } = connection;
      // A connection of an unknown dialler waits if there are rules.
      if (dialler === undefined && hasRules) continue;
      const there = link(dialler ?? STRANGER, proxy.name);
      const back = link(proxy.name, dialler ?? STRANGER);
      if (this.#cut.has(there)) {
        reset(connection);
        continue;
      }
      const isForthOpen = !this.#held.has(there);
      // A connection dialled over a held link is not forwarded at all.
      if (connection.onward === undefined && isForthOpen) this.#dial(connection);
      forth.isOpen = isForthOpen && connection.onward !== undefined;
      if (connection.back !== undefined) connection.back.isOpen = !this.#held.has(back);
    }
  }

  #dial(connection: Connection): void {
    const { dialled, forth, proxy } = connection;
    const onward = connect({ ...proxy.target, allowHalfOpen: true });
    dialled.setNoDelay(true);
    onward.setNoDelay(true);
    connection.onward = onward;
    onward.once("close", () => forget(connection));
    connection.back = new Flow(onward);
    connection.back.to = dialled;
    forth.to = onward;
  }

  /** Resolves when the diallers of all open connections are known. */
  async #identify(): Promise<void> {
    const now = this.#all;
    const isUnknown = (connection: Connection) =>
      connection.dialler === undefined && connection.proxy.connections.has(connection);
    while (now.some(isUnknown)) {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined;
      });
      await this.#asking;
    }
  }

  async #ask(): Promise<void> {
    const pauseMs = Math.max(0, this.#askAgainMs - performance.now());
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    const startMs = performance.now();
    const unknown = this.#all.filter(({ dialler }) => dialler === undefined);
    const table = await readFile("/proc/net/tcp", "latin1");
    const owners = new Map<string, string>();
    for (const { name, pid } of this.#proxies.values()) {
      const number = pid();
      for (const inode of number === undefined ? [] : socketsOf(number)) owners.set(inode, name);
    }
    for (const connection of unknown) {
      connection.dialler = owners.get(inodeOf(connection.dialled, table) ?? "") ?? STRANGER;
    }
    // With many sockets on the machine the table is slow to read: do not spend all the time on it.
    const endMs = performance.now();
    this.#askAgainMs = endMs + 3 * (endMs - startMs);
    this.#update(unknown);
  }
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

interface Proxy {
  readonly name: string;
  readonly server: Server;
  readonly target: Endpoint;
  readonly pid: () => number | undefined;
  readonly connections: Set<Connection>;
}

interface Connection {
  readonly proxy: Proxy;
  readonly dialled: Socket;
  onward: Socket | undefined;
  /** A member's name or `STRANGER`; undefined: not known yet. */
  dialler: string | undefined;
  /** From the dialling to the listening member. */
  readonly forth: Flow;
  back: Flow | undefined;
}

/** Forwards bytes, and the end, from one socket to another; holds them while it is not open. */
class Flow {
  readonly #from: Socket;
  #to: Socket | undefined;
  #isOpen = false;
  /** The source closed without a proper end. */
  #isBroken = false;

  constructor(from: Socket) {
    this.#from = from;
    from.on("error", () => {
      this.#isBroken = true;
    });
    from.on("close", () => {
      this.#isBroken ||= !from.readableEnded;
      if (this.#isOpen && this.#isBroken) this.#to?.destroy();
    });
  }

  set to(to: Socket) {
    this.#to = to;
  }

  set isOpen(isOpen: boolean) {
    if (isOpen === this.#isOpen || this.#to === undefined) return;
    this.#isOpen = isOpen;
    if (!isOpen) {
      this.#from.unpipe(this.#to);
      this.#from.pause();
    } else if (this.#isBroken) this.#to.destroy();
    else this.#from.pipe(this.#to);
  }
}

function link(from: string, to: string): string {
  return `${from}>${to}`;
}

/** Call once both sockets are closed: one may still wait for the other's held end. */
function forget(connection: Connection): void {
  const { dialled, onward, proxy } = connection;
  if (dialled.closed && onward?.closed !== false) proxy.connections.delete(connection);
}

function reset({ dialled, onward }: Connection): void {
  for (const socket of [dialled, onward]) {
    // A reset with a pending end fails within Node 20.20 and keeps the process alive.
    if (socket?.writableEnded) socket.destroy();
    else socket?.resetAndDestroy();
  }
}

/**
 * The inode of the socket at the other end.
 *
 * @param table /proc/net/tcp: sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout
 *   inode
 */
function inodeOf(dialled: Socket, table: string): string | undefined {
  const { remoteAddress, remotePort, localAddress, localPort } = dialled;
  const ends = [endpointText(remoteAddress, remotePort), endpointText(localAddress, localPort)];
  const at = table.indexOf(ends.join(" "));
  if (at < 0) return undefined;
  return table.slice(at, table.indexOf("\n", at)).split(/\s+/)[8];
}

/** `127.0.0.1`, 8080 as `0100007F:1F90`: the address in host byte order, little-endian here. */
function endpointText(address = "", port = 0): string {
  const bytes = Buffer.from(address.split(".").map(Number)).reverse();
  return `${bytes.toString("hex")}:${port.toString(16).padStart(4, "0")}`.toUpperCase();
}

function socketsOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []; // It has ended.
    throw error;
  }
  return names.flatMap((name) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`${folder}/${name}`))?.[1] ?? [];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return []; // Closed meanwhile.
      throw error;
    }
  });
}
