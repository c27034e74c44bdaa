import assert from "node:assert/strict";
import { test } from "node:test";
import { confChangeCommands } from "#ringd/cluster/commands.js";
import type { MemberChange } from "#ringd/cluster/member-change.js";
import { PeerPort } from "#ringd/member/peer-port.js";
import { readMembers } from "#ringd/messages/peers.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { createRing, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { eventOf, MEMBER_ID, oneMember } from "../cluster/one-member.js";

test("a removed member still knows whom to send its progress", () => {
  const bell = new Bell(Bell.create());
  const ring = createRing(65_536);
  const peers = new PeerPort(new Outlet(new RingWriter(ring, bell)), MEMBER_ID);
  const told: string[][] = [];
  const inlet = Inlet.withCursor(new RingReader(ring, bell), (record) => {
    const { members } = readMembers(record);
    told.push(members.map(({ id }) => id));
  });
  const membership = oneMember();
  const change = (content: MemberChange) => {
    for (const [i, command] of confChangeCommands(content, 0).entries()) {
      membership.apply(eventOf(command, i + 1));
    }
    peers.tellMembers(membership, [], 1);
  };
  const self = MEMBER_ID.toString(16);
  change({ kind: "add", id: 0xabcn, peerUrls: ["http://127.0.0.1:7001"] });
  change({ kind: "remove", id: MEMBER_ID });
  peers.publish();
  inlet.drain(10);
  assert.deepEqual(told, [["abc", self], ["abc"]]);
});
