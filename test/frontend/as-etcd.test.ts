import assert from "node:assert/strict";
import { after, test } from "node:test";
import { send } from "../support/http.js";
import { type MemberKind, TestMember } from "../support/member.js";
import { RawConnection } from "./raw.js";
import { RAW_CASES, type RawCase } from "./raw-cases.js";

/**
 * Raw requests to a real member's node listener. KIND=etcd runs them against etcd, whose responses
 * the table holds.
 */

const KIND = (process.env.KIND ?? "ringd") as MemberKind;
const ONCE_MORE = "GET /once-more HTTP/1.1\r\nHost: a\r\n\r\n";

const member = TestMember.create(KIND, KIND === "ringd" ? ["--frontend", "node"] : []);
after(async () => (await member).destroy());

for (const [group, cases] of Object.entries(RAW_CASES)) {
  test(`${group}: a node listener does what etcd does`, async () => {
    const { port } = await member;
    // An event for requests that wait for a past index.
    await send(port, "PUT", "/v2/keys/first", "value=1");
    const asked = cases.filter(({ notAsEtcd }) => KIND === "ringd" || notAsEtcd === undefined);
    await Promise.all(asked.map((one, i) => check(port, one, `${group.slice(0, 4)}${i}`)));
  });
}

async function check(port: number, one: RawCase, key: string): Promise<void> {
  const pieces = typeof one.send === "string" ? [one.send] : one.send;
  const hasKey = pieces.join("").includes("KEY");
  const connection = await RawConnection.open(port);
  for (const piece of pieces.length > 1 ? pieces.join("").replaceAll("KEY", key) : pieces) {
    connection.send(piece.replaceAll("KEY", key));
    if (pieces.length > 1) await new Promise((resolve) => setImmediate(resolve));
  }
  const [expected = "", end] = one.outcome.split(" ");
  if (one.isHalfClosed) connection.socket.end();
  if (end === "closed") await connection.untilClosed();
  else {
    const answers = expected.split(",").map((status) => `HTTP/1\\.[01] ${status} [^]*`);
    await connection.until(new RegExp(`^${answers.join("")}`)).catch(() => undefined);
    // It is still usable: nothing was left over, and another response arrives.
    connection.send(ONCE_MORE);
    const last = new RegExp(`^${answers.join("")}HTTP/1\\.[01] 404 [^]*not found\\n$`);
    await connection.until(last).catch(() => undefined);
    connection.close();
  }
  const statuses = [...connection.text.matchAll(/HTTP\/1\.[01] (\d+) /g)].map(([, s]) => s);
  if (end === "open") assert.equal(statuses.pop(), "404", `${one.name}: not open`);
  assert.equal(statuses.join(","), expected, `${one.name}: ${connection.text.slice(0, 500)}`);
  if (!hasKey) return;
  const { body } = await send(port, "GET", `/v2/keys/${key}?quorum=true`);
  assert.equal(JSON.parse(body.toString()).node?.value, one.value, `${one.name}: the value`);
}
