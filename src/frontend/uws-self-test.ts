import { connect } from "node:net";
import type { FramedRequest } from "../messages/requests.js";
import { Method } from "../v2/request.js";
import { ContentKind } from "../v2/response.js";
import { Backlogs } from "./backlogs.js";
import { ChunkBody } from "./chunk-body.js";
import type { Exchange, Frontend, Gateway } from "./frontend.js";
import { localHead } from "./local-responses.js";

const SELF_TEST_MS = 10_000;
const NO_BYTES = new Uint8Array(0);
const EVENT = Buffer.from('{"createdIndex":1}\n');
const PLAIN = '13\r\n{"createdIndex":1}\n\r\n';
/** Two events on the wire: without a handle for the first, then with one. */
const WIRES = [`14\r\n{"createdIndex": 1}\n\r\n${PLAIN}0\r\n\r\n`, `${PLAIN}${PLAIN}0\r\n\r\n`];
const TARGETS = ["/v2/keys?wait=true", "/v2/keys?wait=true&stream=true"];

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
}

const event = () => new ChunkBody(EVENT);

/**
 * Runs watches over a loopback listener, as LastingWatch relies on undocumented behaviour: the
 * bytes on the wire, and that the core learns of a client that left although another request came
 * in between.
 *
 * @throws Error if the library does not behave as expected
 */
export async function testWatches(make: (gateway: Gateway) => Frontend): Promise<void> {
  const gateway = new SelfTestGateway();
  const frontend = make(gateway);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const fail = () => reject(new Error("uWebSockets.js: a watch is not what it should be"));
    timer = setTimeout(fail, SELF_TEST_MS);
  });
  try {
    const port = await frontend.listen("127.0.0.1", 0, "alone");
    await Promise.race([playToTheEnd(port, gateway), late]);
    await Promise.race([leaveAfterAnother(port, gateway), late]);
  } finally {
    clearTimeout(timer);
    frontend.stopListening();
    frontend.close();
  }
}

/** Two events, the second the last, and a second watch on the same connection. */
function playToTheEnd(port: number, gateway: SelfTestGateway): Promise<void> {
  return new Promise((resolve, reject) => {
    let watches = 0;
    let text = "";
    const client = connect(port, "127.0.0.1", () => client.write(get(TARGETS[0] ?? "")));
    gateway.onRequest = (exchange) => exchange.open(localHead(200, ContentKind.json), NO_BYTES);
    client.on("error", reject);
    client.on("data", (part) => {
      text += part;
      if (text.endsWith("\r\n\r\n") && !text.includes("{")) gateway.last?.chunk(event(), false);
      else if (text.endsWith("1}\n\r\n")) gateway.last?.chunk(event(), true);
      if (!text.endsWith(`\r\n\r\n${WIRES[watches]}`)) return;
      watches++;
      text = "";
      const target = TARGETS[watches];
      if (target !== undefined) client.write(get(target));
      else {
        client.destroy();
        resolve();
      }
    });
  });
}

/** A PUT is served while a watch is open, and the client leaves. */
function leaveAfterAnother(port: number, gateway: SelfTestGateway): Promise<void> {
  return new Promise((resolve, reject) => {
    const client = connect(port, "127.0.0.1", () => client.write(get("/v2/keys?wait=true")));
    gateway.onRequest = (exchange, method) => {
      const head = localHead(200, ContentKind.json);
      if (method === Method.put) exchange.answer(head, Buffer.from("put"));
      else exchange.open(head, NO_BYTES);
    };
    gateway.onAbort = resolve;
    const put = "PUT /v2/keys/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    client.on("error", reject);
    client.on("data", (part) => {
      const text = part.toString();
      if (text.endsWith("put")) client.destroy();
      else if (text.endsWith("\r\n\r\n")) client.write(put);
    });
  });
}

class SelfTestGateway implements Gateway {
  readonly backlogs = new Backlogs();
  onRequest: (exchange: Exchange, method: Method) => void = () => undefined;
  onAbort: () => void = () => undefined;
  last: Exchange | undefined;

  request(exchange: Exchange, { method }: FramedRequest): number {
    this.last = exchange;
    setImmediate(() => this.onRequest(exchange, method));
    return 1;
  }

  abort(): void {
    this.onAbort();
  }

  hold(): void {}

  resume(): void {}
}
