import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { head, RawConnection } from "../frontend/raw.js";
import { request, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { Prng } from "../support/prng.js";
import { until } from "../support/until.js";
import { abortSomewhere, throwGarbage, throwMutant } from "./lib/malformed.js";
import { CLOSED_MS, descriptors, rssBytes, serves, untilDescriptors } from "./lib/member-state.js";

/** A member with hostile or broken clients. `SEED=n` reruns one history. */

const SEED = Number(process.env.SEED ?? 20_260);
/** IDLE=20000 where the limit of open files allows it, for both ends. */
const IDLE = Number(process.env.IDLE ?? 2000);
/** The same for SLOW=10000. */
const SLOW = Number(process.env.SLOW ?? 1000);
/** For a few requests, on a machine that does other things. */
const SERVED_MS = 3000;
const KINDS = ["uws", "node"] as const;
const MIB = 1024 * 1024;

const RSS_GROWTH_MAX = 150 * MIB;
/** The backlog, the event history with all its values, and garbage. */
const STREAM_RSS_GROWTH_MAX = 250 * MIB;

for (const kind of KINDS) {
  test(`${kind}: garbage, half requests, idle crowds and abort storms change nothing`, async (t) => {
    const member = await TestMember.create("ringd", ["--frontend", kind]);
    const prng = new Prng(SEED);
    const { port } = member;
    try {
      await serves(member, "before");
      await untilDescriptors(member, descriptors(member));
      const before = { descriptors: descriptors(member), rss: rssBytes(member) };

      await t.test("random bytes", async () => {
        for (let round = 0; round < 20; round++) {
          await Promise.all(Array.from({ length: 20 }, () => throwGarbage(port, prng)));
        }
        await serves(member, "after garbage");
      });

      await t.test("requests with one byte changed", async () => {
        for (let round = 0; round < 20; round++) {
          await Promise.all(Array.from({ length: 20 }, () => throwMutant(port, prng)));
        }
        await serves(member, "after mutants");
      });

      await t.test("aborts at every stage", async () => {
        for (let round = 0; round < 30; round++) {
          await Promise.all(Array.from({ length: 50 }, () => abortSomewhere(port, prng)));
        }
        await serves(member, "after aborts");
      });

      await t.test("slow headers and half bodies are closed in time", async () => {
        const slow = await Promise.all(
          Array.from({ length: 50 }, () =>
            RawConnection.open(port, "GET /v2/keys/ HTTP/1.1\r\nHo"),
          ),
        );
        const half = await Promise.all(
          Array.from({ length: 50 }, () =>
            RawConnection.open(port, `${head("PUT", "/v2/keys/half", "Content-Length: 9")}value=`),
          ),
        );
        const drip = setInterval(() => {
          for (const connection of slow) connection.send("s");
        }, 500);
        await serves(member, "meanwhile");
        for (const connection of slow) await connection.untilClosed(CLOSED_MS);
        clearInterval(drip);
        for (const connection of half) {
          // The node frontend has no timeout for bodies, like etcd.
          if (kind === "uws") await connection.untilClosed(CLOSED_MS);
          else connection.close();
        }
        assert.equal((await send(port, "GET", "/v2/keys/half")).status, 404);
      });

      await t.test(`${IDLE} idle connections`, async () => {
        const idle: RawConnection[] = [];
        const rss = rssBytes(member);
        while (idle.length < IDLE) {
          const more = Array.from({ length: 100 }, () => RawConnection.open(port));
          idle.push(...(await Promise.all(more)));
        }
        const bytesEach = (rssBytes(member) - rss) / IDLE;
        t.diagnostic(`${Math.round(bytesEach)} bytes of memory for each`);
        await serves(member, "among idle ones");
        for (const connection of idle) connection.close();
      });

      await t.test(`${SLOW} connections that send a byte a second`, async () => {
        const text = `${head("PUT", "/v2/keys/slow", "Content-Length: 9")}value=1`;
        const slow: RawConnection[] = [];
        while (slow.length < SLOW) {
          const more = Array.from({ length: 100 }, () =>
            RawConnection.open(port, text.slice(0, 20)),
          );
          slow.push(...(await Promise.all(more)));
        }
        for (let second = 0; second < 4; second++) {
          for (const connection of slow) connection.send(text.charAt(20 + second));
          const startMs = performance.now();
          await serves(member, `second ${second}`);
          assert.ok(performance.now() - startMs < SERVED_MS, "others are served meanwhile");
          await sleep(1000);
        }
        for (const connection of slow) connection.close();
        assert.equal((await send(port, "GET", "/v2/keys/slow")).status, 404);
      });

      await untilDescriptors(member, before.descriptors);
      await serves(member, "after all");
      const growth = rssBytes(member) - before.rss;
      t.diagnostic(`RSS grew by ${Math.round(growth / MIB)} MiB`);
      assert.ok(growth < RSS_GROWTH_MAX, `RSS grew by ${growth} bytes`);
      assert.equal(await member.end("SIGTERM"), 0, member.log);
    } catch (error) {
      t.diagnostic(`SEED=${SEED}`);
      throw error;
    } finally {
      await member.destroy();
    }
  });

  test(`${kind}: a stream that is never read is disconnected; memory and other streams are unaffected`, async (t) => {
    const member = await TestMember.create("ringd", ["--frontend", kind]);
    try {
      const { port } = member;
      const path = "/v2/keys/x?wait=true&stream=true&recursive=true";
      const stuck = await RawConnection.open(port, head("GET", path));
      await stuck.until("\r\n\r\n");
      stuck.socket.pause();
      const reader = await RawConnection.open(port, head("GET", path));
      await reader.until("\r\n\r\n");
      let events = 0;
      reader.socket.removeAllListeners("data");
      // The action's name: the only "set" in an event.
      reader.socket.on("data", (bytes) => {
        for (let at = bytes.indexOf(ACTION); at >= 0; at = bytes.indexOf(ACTION, at + 1)) events++;
      });
      const value = "v".repeat(10_000);
      let sent = 0;
      const rss = rssBytes(member);
      const put = async () => {
        while (!member.log.includes(CUT_OFF)) {
          assert.ok(sent < 10_000, "the backlog has a limit");
          await send(port, "PUT", `/v2/keys/x/${sent++ % 10}`, `value=${value}`);
        }
      };
      await Promise.all([put(), put(), put(), put()]);
      const growth = rssBytes(member) - rss;
      t.diagnostic(`${sent} events; RSS grew by ${Math.round(growth / MIB)} MiB`);
      assert.ok(growth < STREAM_RSS_GROWTH_MAX, `RSS grew by ${growth} bytes`);
      await request(port, { method: "DELETE", path: "/v2/keys/x?recursive=true" });
      const what = () => `${events} of ${sent} events came`;
      await until(what, 10_000, () => events >= sent);
      assert.equal(events, sent);
      assert.equal(member.log.split(CUT_OFF).length - 1, 1, "one line");
      stuck.close();
      reader.close();
      await serves(member, "after all");
    } finally {
      await member.destroy();
    }
  });
}

const CUT_OFF = "disconnected client that does not read its response";
const ACTION = '{"action":"set"';
