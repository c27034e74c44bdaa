import assert from "node:assert/strict";
import { test } from "node:test";
import { type Check, type CheckName, handleProbe, isProbePath } from "#ringd/v2/probes.js";
import { Method } from "#ringd/v2/request.js";

const well: Check = () => undefined;
const CHECKS: Readonly<Record<CheckName, Check>> = {
  threads: well,
  disk: () => "it stalls",
  serializable_read: () => Promise.resolve(undefined),
  leader: well,
  linearizable_read: () => Promise.resolve("no leader"),
};

async function probe(target: string, method: Method = Method.get): Promise<[number, string]> {
  const [path = "", query = ""] = target.split("?");
  const request = { method, path, query, contentType: "", body: undefined, isBodyTooLarge: false };
  const { head, body } = await handleProbe(request as never, CHECKS);
  return [head.status, body.toString()];
}

test("a probe shows its checks when one fails, or when it is asked to", async () => {
  const failed = "[+]threads ok\n[-]disk failed: it stalls\n[+]serializable_read ok\n";
  assert.deepEqual(await probe("/livez"), [503, failed]);
  assert.deepEqual(await probe("/livez?verbose"), [503, failed]);
  assert.deepEqual(await probe("/livez?exclude=disk"), [200, "ok\n"]);
  assert.deepEqual(await probe("/livez?verbose&exclude=disk&exclude=threads"), [
    200,
    "[+]serializable_read ok\nok\n",
  ]);
  assert.deepEqual(await probe("/readyz/leader?verbose=1"), [200, "[+]leader ok\nok\n"]);
  assert.deepEqual(await probe("/readyz?exclude=nothing"), [
    503,
    "[+]leader ok\n[-]linearizable_read failed: no leader\n",
  ]);
});

test("only GET and HEAD are taken", async () => {
  assert.deepEqual(await probe("/livez/threads", Method.head), [200, "ok\n"]);
  assert.equal((await probe("/livez", Method.put))[0], 405);
});

test("probes are told from other paths", () => {
  for (const path of ["/livez", "/readyz", "/livez/", "/livez/disk", "/readyz/leader"]) {
    assert.ok(isProbePath(path), path);
  }
  for (const path of ["/", "/livezz", "/livez/leader", "/readyz/constructor", "/health"]) {
    assert.ok(!isProbePath(path), path);
  }
});
