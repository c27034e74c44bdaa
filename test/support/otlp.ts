import { once } from "node:events";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { ProtobufReader } from "#ringd/etcd/protobuf.js";

const PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const FRAME_HEAD_BYTES = 5;

export interface ReceivedSpan {
  traceId: string;
  spanId: string;
  parentId: string;
  name: string;
  kind: number;
  /** Of its status: 0 unset, 2 error. */
  status: number;
  readonly attributes: Record<string, unknown>;
  readonly resource: Readonly<Record<string, unknown>>;
}

/** An OTLP collector: takes traces by gRPC, without TLS. */
export class TestCollector {
  readonly spans: ReceivedSpan[] = [];
  readonly #server: Http2Server;
  readonly #sessions = new Set<{ destroy(): void }>();

  private constructor() {
    this.#server = createServer();
    this.#server.on("session", (session) => this.#sessions.add(session));
    this.#server.on("stream", (stream, headers) => {
      this.#serve(stream, String(headers[":path"])).catch(() => stream.destroy());
    });
  }

  static async start(port = 0): Promise<TestCollector> {
    const collector = new TestCollector();
    collector.#server.listen(port, "127.0.0.1");
    await once(collector.#server, "listening");
    return collector;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    for (const session of this.#sessions) session.destroy();
  }

  async #serve(stream: ServerHttp2Stream, path: string): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
    const bytes = Buffer.concat(parts);
    const isKnown = path === PATH && bytes[0] === 0;
    if (isKnown) this.#take(bytes.subarray(FRAME_HEAD_BYTES));
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": isKnown ? "0" : "12" }));
    stream.end(Buffer.alloc(FRAME_HEAD_BYTES));
  }

  #take(request: Buffer): void {
    eachMessage(request, 1, (resourceSpans) => {
      const resource: Record<string, unknown> = {};
      eachMessage(resourceSpans, 1, (message) => readAttributes(message, 1, resource));
      eachMessage(resourceSpans, 2, (scope) => {
        eachMessage(scope, 2, (span) => this.spans.push(readSpan(span, resource)));
      });
    });
  }
}

function eachMessage(bytes: Buffer, wanted: number, take: (message: Buffer) => void): void {
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === wanted) take(reader.bytes());
    else reader.skip();
  }
}

function readSpan(bytes: Buffer, resource: ReceivedSpan["resource"]): ReceivedSpan {
  const attributes: Record<string, unknown> = {};
  const ids = { traceId: "", spanId: "", parentId: "" };
  const span = { ...ids, name: "", kind: 0, status: 0, attributes, resource };
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) span.traceId = reader.bytes().toString("hex");
    else if (field === 2) span.spanId = reader.bytes().toString("hex");
    else if (field === 4) span.parentId = reader.bytes().toString("hex");
    else if (field === 5) span.name = reader.bytes().toString();
    else if (field === 6) span.kind = reader.uint();
    else if (field === 15) span.status = readStatus(reader.bytes());
    else reader.skip();
  }
  readAttributes(bytes, 9, attributes);
  return span;
}

function readStatus(bytes: Buffer): number {
  const reader = new ProtobufReader(bytes);
  let code = 0;
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 3) code = reader.uint();
    else reader.skip();
  }
  return code;
}

function readAttributes(bytes: Buffer, wanted: number, into: Record<string, unknown>): void {
  eachMessage(bytes, wanted, (message) => {
    const reader = new ProtobufReader(message);
    let key = "";
    for (let field = reader.field(); field !== 0; field = reader.field()) {
      if (field === 1) key = reader.bytes().toString();
      else if (field === 2) into[key] = readValue(reader.bytes());
      else reader.skip();
    }
  });
}

function readValue(bytes: Buffer): unknown {
  const reader = new ProtobufReader(bytes);
  let value: unknown;
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) value = reader.bytes().toString();
    else if (field === 2) value = reader.bool();
    else if (field === 3) value = Number(reader.i64());
    else if (field === 5) {
      const list: unknown[] = [];
      eachMessage(reader.bytes(), 1, (one) => list.push(readValue(one)));
      value = list;
    } else reader.skip();
  }
  return value;
}
