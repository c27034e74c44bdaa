import assert from "node:assert/strict";
import { test } from "node:test";
import { open, send } from "../support/http.js";
import { TestMember } from "../support/member.js";

const NAME = "ringd_http_request_duration_seconds";

async function page(member: TestMember): Promise<string> {
  return (await send(member.port, "GET", "/metrics")).body.toString();
}

for (const kind of ["uws", "node"]) {
  test(`extensive metrics have durations by method, code and route (${kind})`, async () => {
    const member = await TestMember.create("ringd", ["--metrics=extensive", `--frontend=${kind}`]);
    try {
      for (let i = 0; i < 3; i++) await send(member.port, "PUT", "/v2/keys/d/k", `value=${i}`);
      await send(member.port, "GET", "/v2/keys/absent");
      await send(member.port, "GET", "/v2/keys?recursive=true");
      await send(member.port, "GET", "/v2/keysy");
      await send(member.port, "GET", "/health");
      await send(member.port, "PATCH", "/v2/keys");
      const watch = await open(member.port, { method: "GET", path: "/v2/keys/w?wait=true" });
      const text = await page(member);
      const counted = [...text.matchAll(new RegExp(`${NAME}_count\\{(.*)\\} (\\d+)`, "g"))]
        .map(([, labels, count]) => `${labels} ${count}`)
        .sort();
      assert.deepEqual(counted, [
        'method="GET",code="200",route="keys" 1',
        'method="GET",code="200",route="other" 1',
        'method="GET",code="404",route="keys" 1',
        'method="GET",code="404",route="other" 1',
        'method="OTHER",code="405",route="keys" 1',
        'method="PUT",code="200",route="keys" 2',
        'method="PUT",code="201",route="keys" 1',
      ]);
      assert.match(text, new RegExp(`${NAME}_bucket\\{.*le="3.2768".*\\} `));
      watch.close();
    } finally {
      await member.destroy();
    }
  });
}

test("basic metrics have none of that", async () => {
  const member = await TestMember.create("ringd", ["--metrics=basic"]);
  try {
    await send(member.port, "PUT", "/v2/keys/k", "value=1");
    assert.doesNotMatch(await page(member), new RegExp(NAME));
  } finally {
    await member.destroy();
  }
});
