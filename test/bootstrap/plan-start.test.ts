import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { nodeStartIo, type StartIdentity, type StartIo } from "#ringd/bootstrap/io.js";
import { planStart, type StartConfig } from "#ringd/bootstrap/plan-start.js";
import { formatId } from "#ringd/cluster/ids.js";
import { DiscoveryError } from "#ringd/discovery/discovery-error.js";

const P1 = "http://127.0.0.1:41117";
const P2 = "http://127.0.0.1:41119";

interface World {
  /** Responses by URL and path; a text is a failure. */
  readonly answers?: Readonly<Record<string, { body: string; clusterId: string } | string>>;
  readonly hosts?: Readonly<Record<string, readonly string[]>>;
  /** Of an interrupted start. */
  readonly left?: StartIdentity;
  /** The initial cluster that the discovery URL leads to. */
  readonly registered?: string;
}

class FakeIo implements StartIo {
  readonly resolveMs = 0;
  readonly warnings: string[] = [];
  readonly asked: string[] = [];
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  async get(peerUrl: string, path: string) {
    this.asked.push(peerUrl + path);
    const answer = this.#world.answers?.[peerUrl + path] ?? "connect ECONNREFUSED";
    if (typeof answer === "string") throw new Error(answer);
    return answer;
  }

  async resolve(host: string) {
    const addresses = this.#world.hosts?.[host];
    if (addresses === undefined) throw new Error(`getaddrinfo ENOTFOUND ${host}`);
    return addresses;
  }

  get token() {
    const { registered } = this.#world;
    if (registered === undefined) return undefined;
    return {
      join: async (id: string, member: string) => {
        this.asked.push(`join ${id} ${member}`);
        return registered;
      },
      cluster: async () => {
        if (registered === "") throw new DiscoveryError("size not found", "http://d:1/t");
        return registered;
      },
    };
  }

  identityLeft() {
    return this.#world.left;
  }

  sha1(bytes: Uint8Array) {
    return createHash("sha1").update(bytes).digest();
  }

  readonly warn = (message: string) => {
    this.warnings.push(message);
  };
}

function configOf(config: Partial<StartConfig> & { initialCluster: string }): StartConfig {
  return {
    name: "n2",
    initialClusterState: "new",
    initialClusterToken: "etcd-cluster",
    initialAdvertisePeerUrls: [P2],
    dataDir: "",
    walDir: "",
    discoveryUrl: "",
    ...config,
  };
}

async function refusal(
  config: Partial<StartConfig> & { initialCluster: string },
  world: World = {},
): Promise<string> {
  const io = new FakeIo(world);
  let message = "";
  await assert.rejects(planStart(configOf(config), io), (error: Error) => {
    assert.equal(error.name, "StartPlanError");
    message = error.message;
    return true;
  });
  return message;
}

test("an initial member's plan needs no other member; ids are etcd's", async () => {
  // Ids as etcd 3.4.23 gave them to the members of this cluster.
  const cluster = `n1=${P1}`;
  const config = configOf({ name: "n1", initialAdvertisePeerUrls: [P1], initialCluster: cluster });
  const plan = await planStart(config, new FakeIo({}));
  assert.equal(plan.kind, "found");
  assert.equal(formatId(plan.memberId), "2ada04668942b129");
  assert.equal(formatId(plan.clusterId), "d99c5f870067dcd");

  const three = `c=http://c:1,a=http://a:2,b=${P2},a=http://a:1`;
  const io = new FakeIo({});
  const plans = [
    await planStart(configOf({ name: "b", initialCluster: three }), io),
    await planStart(
      configOf({
        name: "a",
        initialCluster: three,
        initialAdvertisePeerUrls: ["http://a:1", "http://a:2"],
      }),
      io,
    ),
  ];
  assert.deepEqual(plans[0]?.members, plans[1]?.members);
  assert.equal(plans[0]?.clusterId, plans[1]?.clusterId);
  assert.deepEqual(plans[0]?.members.map(({ name }) => name).sort(), ["a", "b", "c"]);
  const ids = plans[0]?.members.map(({ id }) => id) ?? [];
  assert.deepEqual(
    ids,
    [...ids].sort((x, y) => (x < y ? -1 : 1)),
  );
  const other = await planStart(
    configOf({ name: "b", initialCluster: three, initialClusterToken: "other" }),
    new FakeIo({}),
  );
  assert.notEqual(other.memberId, plans[0]?.memberId, "the token is part of every id");
});

/** Texts of etcd 3.4.23. */
const REFUSED: readonly (readonly [why: string, Partial<StartConfig>, string, string])[] = [
  [
    "an entry without a URL",
    {},
    `n1=${P1},n2`,
    "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ",
  ],
  [
    "not a member",
    {},
    `n1=${P1}`,
    `couldn't find local name "n2" in the initial cluster configuration`,
  ],
  [
    "another URL",
    {},
    `n1=${P1},n2=${P1}`,
    `--initial-cluster has n2=${P1} but missing from --initial-advertise-peer-urls=${P2} (resolved urls: "${P2}" != "${P1}")`,
  ],
  ["a URL of two", {}, `n1=${P2},n2=${P2}`, `initial cluster n1=${P2},n2=${P2} has duplicate url`],
  [
    "a URL that is advertised and not listed",
    { initialAdvertisePeerUrls: [P2, "http://127.0.0.1:9"] },
    `n1=${P1},n2=${P2}`,
    `--initial-advertise-peer-urls has http://127.0.0.1:9 but missing from --initial-cluster=n2=${P2}`,
  ],
  [
    "a URL that is listed and not advertised",
    {},
    `n1=${P1},n2=${P2},n2=http://127.0.0.1:9`,
    `--initial-cluster has n2=http://127.0.0.1:9 but missing from --initial-advertise-peer-urls=${P2} (len(["${P2}"]) != len(["${P2}" "http://127.0.0.1:9"]))`,
  ],
  [
    "localhost, which is no address",
    {},
    `n1=${P1},n2=http://localhost:41119`,
    `--initial-cluster has n2=http://localhost:41119 but missing from --initial-advertise-peer-urls=${P2} (resolved urls: "${P2}" != "http://localhost:41119")`,
  ],
  [
    "a host that is not known",
    {},
    "n2=http://nowhere:1",
    `--initial-cluster has n2=http://nowhere:1 but missing from --initial-advertise-peer-urls=${P2} (failed to resolve "http://nowhere:1" (getaddrinfo ENOTFOUND nowhere))`,
  ],
  [
    "joining: not a member",
    { initialClusterState: "existing" },
    `n1=${P1}`,
    `couldn't find local name "n2" in the initial cluster configuration`,
  ],
  [
    "joining: a URL of two",
    { initialClusterState: "existing" },
    `n1=${P2},n2=${P2}`,
    `initial cluster n1=${P2},n2=${P2} has duplicate url`,
  ],
  [
    "joining: nobody there",
    { initialClusterState: "existing" },
    `n1=${P1},n2=${P2}`,
    "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs",
  ],
  [
    "joining: nobody else named",
    { initialClusterState: "existing" },
    `n2=${P2}`,
    "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs",
  ],
];

for (const [why, config, initialCluster, text] of REFUSED) {
  test(`refused: ${why}`, async () => {
    assert.equal(await refusal({ ...config, initialCluster }), text);
  });
}

const CLUSTER_ID = "d99c5f870067dcd";
/** Bodies of etcd 3.4.23 before and after `member add` of 127.0.0.1:9. */
const ALONE = `[{"id":3087785332951920937,"peerURLs":["${P1}"],"name":"n1","clientURLs":["http://127.0.0.1:41116"]}]\n`;
const ADDED = `[{"id":2806456083706476700,"peerURLs":["http://127.0.0.1:9"]},{"id":3087785332951920937,"peerURLs":["${P1}"],"name":"n1","clientURLs":["http://127.0.0.1:41116"]}]\n`;
const VERSION = { body: '{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}', clusterId: "" };
const answersOf = (body: string, version = VERSION) => ({
  [`${P1}/members`]: { body, clusterId: CLUSTER_ID },
  [`${P1}/version`]: version,
});
const JOIN = { initialClusterState: "existing", initialCluster: `n1=${P1},n2=${P2}` } as const;

test("a joining member takes its ids from the cluster", async () => {
  const io = new FakeIo({ answers: answersOf(ADDED.replace("http://127.0.0.1:9", P2)) });
  const plan = await planStart(configOf({ ...JOIN, initialAdvertisePeerUrls: ["http://x:1"] }), io);
  assert.equal(plan.kind, "join");
  assert.equal(formatId(plan.memberId), "26f288f05b0ef89c");
  assert.equal(formatId(plan.clusterId), CLUSTER_ID);
  assert.deepEqual(
    plan.members.map(({ id, name, peerUrls }) => [formatId(id), name, peerUrls]),
    [
      ["26f288f05b0ef89c", "", [P2]],
      ["2ada04668942b129", "n1", [P1]],
    ],
  );
  assert.deepEqual(io.warnings, []);
});

test("a joining member's list must be the cluster's", async () => {
  const shown = `&{ID:2ada04668942b129 RaftAttributes:{PeerURLs:[${P1}] IsLearner:false} Attributes:{Name:n1 ClientURLs:[http://127.0.0.1:41116]}}`;
  assert.equal(
    await refusal(JOIN, { answers: answersOf(ALONE) }),
    `error validating peerURLs {ClusterID:${CLUSTER_ID} Members:[${shown}] RemovedMemberIDs:[]}: member count is unequal`,
  );
  assert.equal(
    await refusal(JOIN, { answers: answersOf(ADDED) }),
    `error validating peerURLs {ClusterID:${CLUSTER_ID} Members:[&{ID:26f288f05b0ef89c RaftAttributes:{PeerURLs:[http://127.0.0.1:9] IsLearner:false} Attributes:{Name: ClientURLs:[]}} ${shown}] RemovedMemberIDs:[]}: PeerURLs: no match found for existing member (26f288f05b0ef89c, [http://127.0.0.1:9]), last resolver error (resolved urls: "http://127.0.0.1:9" != "${P2}")`,
  );
  assert.equal(
    await refusal(JOIN, { answers: answersOf("[]") }),
    "cannot fetch cluster info from peer urls: failed to get raft cluster member(s) from the given URLs",
  );
  const odd = ALONE.replace('"name":"n1"', '"name":"n1\\n\\u0007"');
  assert.match(await refusal(JOIN, { answers: answersOf(odd) }), /Name:n1\?\? /, "it is one line");
  const fitting = ADDED.replace("http://127.0.0.1:9", P2);
  for (const etcdcluster of ["not_decided", "3.5.0", "2.3.0"]) {
    const version = { body: JSON.stringify({ etcdcluster }), clusterId: "" };
    assert.equal(
      await refusal(JOIN, { answers: answersOf(fitting, version) }),
      "incompatible with current running cluster",
    );
  }
});

test("if a member lags, hangs or sends garbage, another one's list is used", async () => {
  const fitting = ADDED.replace("http://127.0.0.1:9", P2);
  const member = (id: number, url: string) => `{"id":${id},"peerURLs":["${url}"]}`;
  const wide = fitting.replace("]\n", `,${member(3, "http://c:1")},${member(4, "http://d:1")}]`);
  const initialCluster = `n1=${P1},n2=${P2},n3=http://c:1,n4=http://d:1`;
  for (const bad of [ALONE, "[]", "<html>", '[{"id":0}]', '{"id":1}', "[1]"]) {
    const answers = {
      [`${P1}/members`]: { body: bad, clusterId: CLUSTER_ID },
      "http://c:1/members": { body: wide, clusterId: "xyz" },
      "http://d:1/members": { body: wide, clusterId: CLUSTER_ID },
      "http://d:1/version": VERSION,
    };
    const io = new FakeIo({ answers });
    const plan = await planStart(configOf({ ...JOIN, initialCluster }), io);
    assert.equal(formatId(plan.memberId), "26f288f05b0ef89c", bad);
  }
});

test("host names count as their addresses, on either side", async () => {
  const hosts = { one: ["127.0.0.1"], two: ["::9", "127.0.0.1"] };
  const byName = ADDED.replace("http://127.0.0.1:9", "http://two:41119");
  const initialCluster = `n1=http://one:41117,n2=${P2}`;
  const answers = {
    "http://one:41117/members": { body: byName, clusterId: CLUSTER_ID },
    [`${P1}/version`]: VERSION,
  };
  const plan = await planStart(
    configOf({ ...JOIN, initialCluster }),
    new FakeIo({ answers, hosts }),
  );
  assert.equal(formatId(plan.memberId), "26f288f05b0ef89c");
  const founder = configOf({ initialCluster: "n2=http://two:41119" });
  assert.equal((await planStart(founder, new FakeIo({ hosts }))).kind, "found");
  const mismatch = await refusal({ initialCluster: "n2=http://two:1" }, { hosts });
  assert.match(mismatch, /resolved urls: "http:\/\/127\.0\.0\.1:41119" != "http:\/\/\[::9\]:1"/);
});

test("an initial member whose client URLs are known to others has been bootstrapped before", async () => {
  const cluster = `n1=${P1},n2=${P2}`;
  const own = await planStart(configOf({ initialCluster: cluster }), new FakeIo({}));
  const known = (clientUrls: readonly string[]) => ({
    answers: {
      [`${P1}/members`]: {
        body: JSON.stringify([{ id: "ID", peerURLs: [P2], clientURLs: clientUrls }]).replace(
          '"ID"',
          String(own.memberId),
        ),
        clusterId: formatId(own.clusterId),
      },
    },
  });
  assert.equal(
    await refusal({ initialCluster: cluster }, known(["http://c:1"])),
    `member ${formatId(own.memberId)} has already been bootstrapped`,
  );
  const unpublished = await planStart(configOf({ initialCluster: cluster }), new FakeIo(known([])));
  assert.equal(unpublished.memberId, own.memberId);
});

test("an interrupted start continues with the same identity", async () => {
  const cluster = `n1=${P1},n2=${P2}`;
  const founder = await planStart(configOf({ initialCluster: cluster }), new FakeIo({}));
  const { memberId, clusterId } = founder;
  const again = new FakeIo({ left: { memberId, clusterId } });
  assert.deepEqual(await planStart(configOf({ initialCluster: cluster }), again), founder);
  assert.deepEqual(again.asked, []);
  const joiner = {
    kind: "join",
    memberId,
    clusterId,
    members: [{ id: memberId, name: "n2", peerUrls: [P2] }],
  };
  for (const initialCluster of [`n2=${P2}`, "nonsense", `n1=${P1}`, `n1=${P1},n2=${P1}`]) {
    const changed = configOf({ initialCluster });
    assert.deepEqual(await planStart(changed, again), joiner, initialCluster);
  }
  const added = new FakeIo({ left: { memberId: 7n, clusterId } });
  const plan = await planStart(configOf({ ...JOIN }), added);
  assert.deepEqual([plan.kind, plan.memberId, plan.clusterId], ["join", 7n, clusterId]);
  assert.deepEqual(added.asked, [], "nobody needs to run");
});

test("a member that ran before and lost its data is rejected", async () => {
  const body = ADDED.replace(
    '"peerURLs":["http://127.0.0.1:9"]',
    `"peerURLs":["${P2}"],"name":"n2"`,
  );
  assert.equal(
    await refusal(JOIN, { answers: answersOf(body) }),
    "member 26f288f05b0ef89c has already been bootstrapped and its data is gone; remove it from the cluster and add it again",
  );
});

async function listenOn(server: Server, where: { path: string } | undefined): Promise<string> {
  if (where === undefined) server.listen(0, "127.0.0.1");
  else server.listen(where.path);
  await once(server, "listening");
  return where === undefined
    ? `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    : `unix://${where.path}`;
}

test("real sockets: TCP and unix peers respond; silence and too long a body are disconnected", async () => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  const io = nodeStartIo(
    () => undefined,
    undefined,
    () => undefined,
  );
  const server = createServer((request, response) => {
    if (request.url === "/hang") return;
    response.setHeader("X-Etcd-Cluster-ID", "1f");
    if (request.url === "/endless") {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) {}
      };
      response.on("drain", more);
      more();
    } else response.end(`you asked ${request.url}`);
  });
  const twin = createServer(server.listeners("request")[0] as never);
  try {
    const urls = [await listenOn(server, undefined), await listenOn(twin, { path: `${dir}/a:1` })];
    for (const url of urls) {
      const answer = await io.get(url, "/members", 5000);
      assert.deepEqual(answer, { body: "you asked /members", clusterId: "1f" });
    }
    await assert.rejects(io.get(urls[0] as string, "/hang", 50), {
      code: "PEER_REQUEST_FAILED",
      message: /no response within 50 ms/,
    });
    await assert.rejects(io.get(urls[0] as string, "/endless", 20_000), /longer than/);
    await assert.rejects(io.get(`unix://${dir}/none:1`, "/members", 5000), /ENOENT/);
    assert.ok((await io.resolve("localhost")).length > 0);
  } finally {
    for (const one of [server, twin]) {
      one.closeAllConnections();
      one.close();
    }
    rmSync(dir, { recursive: true, force: true });
  }
});

test("members of a discovery URL are founders, with the URL as their token", async () => {
  const registered = `n1=${P1},n2=${P2}`;
  const discoveryUrl = "http://d:1/t";
  const flags = configOf({ initialCluster: `n2=${P2}`, discoveryUrl });
  const io = new FakeIo({ registered });
  const plan = await planStart(flags, io);
  assert.deepEqual(
    plan,
    await planStart(
      configOf({ initialCluster: registered, initialClusterToken: discoveryUrl }),
      new FakeIo({}),
    ),
  );
  assert.equal(io.asked[0], `join ${formatId(plan.memberId)} n2=${P2}`);
  // Interrupted afterwards, it must not register a second time.
  const left = { memberId: plan.memberId, clusterId: plan.clusterId };
  const again = new FakeIo({ registered, left });
  assert.deepEqual(await planStart(flags, again), plan);
  assert.deepEqual(again.asked, []);
  // With the token gone, it waits for the others' log under the identity it has.
  const late = new FakeIo({ registered: "", left });
  const joining = await planStart(flags, late);
  assert.deepEqual([joining.kind, joining.memberId], ["join", plan.memberId]);
  assert.match(late.warnings[0] ?? "", /size key not found/);
  assert.equal(
    await refusal({ ...flags, initialClusterState: "existing" }, { registered }),
    "discovery URL should not be set when joining existing initial cluster",
  );
});
