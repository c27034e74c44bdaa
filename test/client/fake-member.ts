import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** One received request. */
export interface Received {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Handles a request. */
export type Behaviour = (received: Received, response: ServerResponse) => void;

/** A server with a behaviour that the test chooses; it records the requests. */
export class FakeMember {
  readonly received: Received[] = [];
  behaviour: Behaviour;
  readonly #server: Server;
  #onReceived: () => void = () => undefined;

  private constructor(behaviour: Behaviour) {
    this.behaviour = behaviour;
    this.#server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      const { method = "", url = "", headers } = request;
      const received = { method, url, headers, body };
      this.received.push(received);
      this.#onReceived();
      this.behaviour(received, response);
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

  /** Resolves when that many requests were received. */
  untilReceived(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#onReceived = () => {
        if (this.received.length >= count) resolve();
      };
      this.#onReceived();
    });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await once(this.#server.close(), "close");
  }
}

/** Responds like a successful request to the key space. */
export function succeed(action: string): Behaviour {
  return ({ url }, response) => {
    const key = new URL(url, "http://member").pathname.replace("/v2/keys", "");
    const node = { key, value: "v", modifiedIndex: 7, createdIndex: 7 };
    respond(200, { action, node }, { "X-Etcd-Index": "7" })({} as Received, response);
  };
}

export function respond(
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Behaviour {
  return (_, response) => {
    response.writeHead(status, headers);
    response.end(typeof body === "string" ? body : `${JSON.stringify(body)}\n`);
  };
}

/** Reads the request and closes the connection. */
export const hangUp: Behaviour = (_, response) => response.destroy();

/** Reads the request and never responds. */
export const ignore: Behaviour = () => undefined;

/** Closes the connection within the body of the response. */
export const disconnect: Behaviour = (_, response) => {
  response.writeHead(200, { "X-Etcd-Index": "7" });
  response.write('{"action":');
  setImmediate(() => response.destroy());
};
