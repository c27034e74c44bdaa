import { parseArgs } from "node:util";
import { Tree } from "#ringd/btree/tree.js";
import { Action, Event } from "#ringd/store/event.js";
import { Node, PERMANENT } from "#ringd/store/node.js";
import { ByteWriter } from "#ringd/v2/byte-writer.js";
import { writeEvent, writeFile } from "#ringd/v2/keys-render.js";
import { parseKeysRequest } from "#ringd/v2/keys-request.js";
import { Listing } from "#ringd/v2/listing.js";
import { routePath } from "#ringd/v2/path.js";
import { type ApiRequest, Method } from "#ringd/v2/request.js";
import { number } from "./lib/options.js";
import { median } from "./lib/stats.js";
import { figure, table } from "./lib/table.js";

/**
 * What does it cost to parse a request and render its response, without sockets, rings and store?
 */
const USAGE = `Usage: node dist/bench/codec.js [--calls N] [--rounds N]

  --calls N    per round (default 200000)
  --rounds N   the median counts (default 7)
`;

const NOW_MS = 1_795_242_600_000;
const VALUE_BYTES = 256;
const PLAIN = "x".repeat(VALUE_BYTES);
const JSON_VALUE = '{"host":"10.0.0.1","port":8080},'.repeat(VALUE_BYTES / 32);
const UTF8 = "\xc3\xa9".repeat(VALUE_BYTES / 2);
const LISTED_NODES = 100;

interface Case {
  readonly name: string;
  /** A number derived from each result, so that no work is optimized away. */
  readonly call: () => number;
}

const writer = new ByteWriter();

function request(method: Method, query: string, body: string): ApiRequest {
  return {
    method,
    path: "/v2/keys/bench/key-000123",
    query,
    contentType: "application/x-www-form-urlencoded",
    authorization: "",
    commonName: "",
    remote: "",
    body: Buffer.from(body, "latin1"),
    isBodyTooLarge: false,
  };
}

function parse(asked: ApiRequest): number {
  const routed = routePath(asked.path, asked.query, asked.method);
  if (routed.kind !== "path") return 0;
  const parsed = parseKeysRequest(asked, routed.path, NOW_MS);
  return parsed.kind === "write" ? parsed.command.value.length : parsed.kind.length;
}

function render(event: Event): number {
  writer.clear();
  writeEvent(writer, event, false);
  return writer.length;
}

function setOf(value: string): Event {
  const path = "/1/bench/key-000123";
  const old = new Node(path, value, false, 123_456, 123_456, PERMANENT);
  const node = new Node(path, value, false, 123_789, 123_789, PERMANENT);
  return new Event(Action.set, node, old, NOW_MS, false);
}

function listed(): Case {
  const nodes = [new Node("/1", "", true, 0, 0, PERMANENT)];
  for (let i = 0; i < LISTED_NODES; i++) {
    const name = String(i).padStart(6, "0");
    nodes.push(new Node(`/1/key-${name}`, PLAIN, false, i + 4, i + 4, PERMANENT));
  }
  const tree = Tree.load(nodes);
  const root = nodes[0] as Node;
  return {
    name: `list ${LISTED_NODES} files`,
    call: () => {
      writer.clear();
      new Listing(root, tree.cursor(""), true, NOW_MS).next(writer, 1 << 20);
      return writer.length;
    },
  };
}

function cases(): readonly Case[] {
  const put = request(Method.put, "", `value=${PLAIN}`);
  const swap = request(Method.put, "prevIndex=123456&ttl=60", `value=${PLAIN}`);
  const escaped = request(Method.put, "", `value=${encodeURIComponent(JSON_VALUE)}`);
  const get = request(Method.get, "quorum=false&recursive=false&sorted=false", "");
  const [plain, json, utf8] = [setOf(PLAIN), setOf(JSON_VALUE), setOf(UTF8)];
  const file = new Node("/1/a", PLAIN, false, 7, 7, NOW_MS + 60_000);
  return [
    { name: "PUT and its answer", call: () => parse(put) + render(plain) },
    { name: "read PUT", call: () => parse(put) },
    { name: "read PUT, swap with ttl", call: () => parse(swap) },
    { name: "read PUT, percent-encoded JSON", call: () => parse(escaped) },
    { name: "read GET of the Go client", call: () => parse(get) },
    { name: "write set with prevNode", call: () => render(plain) },
    { name: "write set, JSON values", call: () => render(json) },
    { name: "write set, UTF-8 values", call: () => render(utf8) },
    {
      name: "write file with ttl",
      call: () => {
        writer.clear();
        writeFile(writer, file, NOW_MS);
        return writer.length;
      },
    },
    listed(),
  ];
}

/** @returns microseconds per call */
function time({ call }: Case, calls: number): number {
  let sum = 0;
  const start = process.hrtime.bigint();
  for (let i = 0; i < calls; i++) sum += call();
  const micros = Number(process.hrtime.bigint() - start) / 1000;
  if (sum === 0) throw new Error("Cannot measure: the calls did nothing");
  return micros / calls;
}

function main(): void {
  const { values } = parseArgs({
    options: {
      calls: { type: "string" },
      rounds: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const calls = number("calls", values.calls ?? "200000");
  const rounds = number("rounds", values.rounds ?? "7");
  const rows = cases().map((one) => {
    const some = one.name.startsWith("list") ? Math.ceil(calls / LISTED_NODES) : calls;
    time(one, some); // Warm-up, for the compiler.
    const micros = Array.from({ length: rounds }, () => time(one, some));
    return [one.name, figure(median(micros)), figure(Math.min(...micros))];
  });
  process.stdout.write(`${table(["256-byte values", "median us", "best us"], rows)}\n`);
}

main();
