import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** One request as it came. */
export interface Heard {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** What it does with a request. */
export type Behaviour = (heard: Heard, response: ServerResponse) => void;

/** A server that behaves as a test wants, well or badly, and remembers what it heard. */
export class FakeMember {
  readonly heard: Heard[] = [];
  behaviour: Behaviour;
  readonly #server: Server;
  #onHeard: () => void = () => undefined;

  private constructor(behaviour: Behaviour) {
    this.behaviour = behaviour;
    this.#server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      const { method = "", url = "", headers } = request;
      const heard = { method, url, headers, body };
      this.heard.push(heard);
      this.#onHeard();
      this.behaviour(heard, response);
    });
  }

  static async create(behaviour: Behaviour = succeed("set")): Promise<FakeMember> {
    const member = new FakeMember(behaviour);
    member.#server.listen(0, "127.0.0.1");
    await once(member.#server, "listening");
    return member;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resolves when it has heard that many requests. */
  untilHeard(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#onHeard = () => {
        if (this.heard.length >= count) resolve();
      };
      this.#onHeard();
    });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await once(this.#server.close(), "close");
  }
}

/** A key space success. */
export function succeed(action: string): Behaviour {
  return ({ url }, response) => {
    const key = new URL(url, "http://member").pathname.replace("/v2/keys", "");
    const node = { key, value: "v", modifiedIndex: 7, createdIndex: 7 };
    answer(200, { action, node }, { "X-Etcd-Index": "7" })({} as Heard, response);
  };
}

export function answer(
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Behaviour {
  return (_, response) => {
    response.writeHead(status, headers);
    response.end(typeof body === "string" ? body : `${JSON.stringify(body)}\n`);
  };
}

/** Reads the request and ends the connection. */
export const hangUp: Behaviour = (_, response) => response.destroy();

/** Reads the request and says nothing. */
export const ignore: Behaviour = () => undefined;

/** Begins an answer and ends the connection in the middle of it. */
export const breakOff: Behaviour = (_, response) => {
  response.writeHead(200, { "X-Etcd-Index": "7" });
  response.write('{"action":');
  setImmediate(() => response.destroy());
};
