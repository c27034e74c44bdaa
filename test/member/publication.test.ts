import assert from "node:assert/strict";
import { test } from "node:test";
import { Membership } from "#ringd/cluster/membership.js";
import { type Config, readConfig } from "#ringd/config/config.js";
import { Publication } from "#ringd/member/publication.js";
import type { Command } from "#ringd/store/command.js";

test("a member publishes itself again at once when its stream to the leader is back", () => {
  const { config } = readConfig(["--name", "n1"], {}) as { config: Config };
  const proposed: Command[] = [];
  const publication = new Publication(
    { config, memberId: 1n, clusterId: 2n, membership: new Membership() },
    {
      propose: (command) => proposed.push(command) > 0,
      hasTime: () => true,
      onReady: () => undefined,
    },
  );
  publication.step(false, 0, 1000);
  publication.step(false, 0, 1500);
  assert.equal(proposed.length, 1, "it is in flight");
  publication.onLeaderReached();
  publication.step(false, 0, 1600);
  publication.step(false, 0, 1700);
  assert.equal(proposed.length, 2);
});

test("a member that is published and does not learn the time publishes itself again", () => {
  const { config } = readConfig(["--name", "n1"], {}) as { config: Config };
  const proposed: Command[] = [];
  let hasTime = false;
  const publication = new Publication(
    { config, memberId: 1n, clusterId: 2n, membership: new Membership() },
    {
      propose: (command) => proposed.push(command) > 0,
      hasTime: () => hasTime,
      onReady: () => undefined,
    },
  );
  const [first] = [publication.step(false, 0, 1000), ...proposed].slice(1);
  assert.ok(first !== undefined);
  publication.onOwnCommand(first);
  publication.step(false, 0, 1100);
  publication.step(false, 0, 3000);
  assert.equal(proposed.length, 1);
  publication.step(false, 0, 3100);
  assert.equal(proposed.length, 2, "the time may be hidden in a snapshot");
  publication.onOwnCommand(first);
  hasTime = true;
  for (let ms = 3200; ms < 9000; ms += 100) publication.step(false, 0, ms);
  assert.equal(proposed.length, 2);
});
