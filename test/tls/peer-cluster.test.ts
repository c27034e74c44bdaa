import assert from "node:assert/strict";
import { copyFileSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { send } from "../support/http.js";
import { until } from "../support/until.js";
import { Authority, type Issued, NO_OPENSSL } from "./authority.js";
import { peerFlags, Trio, type TrioOptions } from "./trio.js";

/** Clusters of real processes with TLS between members; among them etcd's own end-to-end tests. */

const skip = NO_OPENSSL;
const authority = skip ? undefined : new Authority();
after(() => authority?.remove());

function ca(): Authority {
  assert.ok(authority);
  return authority;
}

async function start(t: TestContext, options: TrioOptions): Promise<Trio> {
  const trio = await Trio.start(options);
  t.after(() => trio.destroy());
  return trio;
}

const withCertificates: TrioOptions = {
  flags: (trio, i) => peerFlags(ca(), trio.issue(ca(), i)),
};

test("three members with certificates serve, also after a restart of all", { skip }, async (t) => {
  const trio = await start(t, withCertificates);
  await trio.serves(0, 1, 2);
  await trio.untilLogged(
    0,
    /peerTLS: cert = \S+, key = \S+, trusted-ca = \S+, client-cert-auth = true, crl-file = /,
  );
  await Promise.all(trio.members.map((member) => member.restart()));
  await trio.serves(0, 1, 2);
  const { body } = await send(trio.member(1).port, "GET", "/v2/members");
  const { members } = JSON.parse(body.toString()) as { members: { peerURLs: string[] }[] };
  assert.ok(members.every(({ peerURLs }) => peerURLs[0]?.startsWith("https://")));
});

test("--peer-auto-tls: strangers' certificates are accepted, and kept over restarts", {
  skip,
}, async (t) => {
  const trio = await start(t, { flags: () => ["--peer-auto-tls"] });
  await trio.serves(0, 1, 2);
  const { dataDir } = trio.member(0);
  const file = (name: string) => join(dataDir, "fixtures", "peer", name);
  const before = readFileSync(file("cert.pem"), "utf8");
  assert.equal(statSync(file("key.pem")).mode & 0o777, 0o600);
  await Promise.all(trio.members.map((member) => member.restart()));
  await trio.serves(0, 1, 2);
  assert.equal(readFileSync(file("cert.pem"), "utf8"), before);
});

const KEPT_OUT: Readonly<Record<string, { flags: (trio: Trio) => string[]; says: RegExp }>> = {
  "of another CA": {
    flags: (trio) => {
      const other = new Authority("another CA");
      after(() => other.remove());
      return peerFlags(ca(), trio.issue(other, 2));
    },
    says: /rejected connection from .*certificate signed by unknown authority/,
  },
  "that was revoked": {
    flags: (trio) => {
      const pair = trio.issue(ca(), 2);
      ca().revoke(pair);
      return peerFlags(ca(), pair);
    },
    says: /rejected connection from .*transport: certificate serial \w+ revoked/,
  },
};

for (const [what, { flags, says }] of Object.entries(KEPT_OUT)) {
  test(`a member with a certificate ${what} is kept out, the other two serve`, {
    skip,
  }, async (t) => {
    const trio = await Trio.make({
      flags: (trio, i) => {
        if (i === 2) return flags(trio);
        return [...peerFlags(ca(), trio.issue(ca(), i)), "--peer-crl-file", ca().revoke()];
      },
    });
    t.after(() => trio.destroy());
    trio.member(2).launch(); // Never ready; and its list of revoked certificates is made first.
    await Promise.all([trio.member(0).start(), trio.member(1).start()]);
    await trio.serves(0, 1);
    await trio.untilLogged(0, says);
    await trio.untilLogged(2, /remote error: tls: bad certificate/);
    assert.doesNotMatch(trio.member(2).log, /ready to serve client requests/);
  });
}

test("a member without a certificate is kept out, the other two serve", { skip }, async (t) => {
  const trio = await Trio.make({
    flags: (trio, i) =>
      i === 2
        ? ["--listen-peer-urls", trio.peerUrl(2, "http"), "--peer-trusted-ca-file", ca().caFile]
        : peerFlags(ca(), trio.issue(ca(), i)),
  });
  t.after(() => trio.destroy());
  trio.member(2).launch();
  await Promise.all([trio.member(0).start(), trio.member(1).start()]);
  await trio.serves(0, 1);
  await trio.untilLogged(0, /rejected connection from .*tls: client didn't provide a certificate/);
  await trio.untilLogged(0, /cannot reach peer/);
});

test("TestEtcdPeerCNAuth: members with another common name are kept out, and both sides say so", {
  skip,
}, async (t) => {
  const trio = await Trio.make({
    flags: (trio, i) => {
      const cn = i < 2 ? "example.com" : "example2.com";
      return [...peerFlags(ca(), trio.issue(ca(), i, { cn })), "--peer-cert-allowed-cn", cn];
    },
  });
  t.after(() => trio.destroy());
  trio.member(2).launch();
  await Promise.all([trio.member(0).start(), trio.member(1).start()]);
  await trio.serves(0, 1);
  await trio.untilLogged(2, /remote error: tls: bad certificate/);
  await trio.untilLogged(0, /client certificate authentication failed/);
});

test("TestEtcdPeerNameAuth: members without the allowed host name are kept out", {
  skip,
}, async (t) => {
  const trio = await Trio.make({
    flags: (trio, i) => {
      const names = `IP:127.0.0.1,IP:${trio.address(i)},DNS:localhost`;
      const allowed = i < 2 ? "localhost" : "example2.com";
      const pair = trio.issue(ca(), i, { names });
      return [...peerFlags(ca(), pair), "--peer-cert-allowed-hostname", allowed];
    },
  });
  t.after(() => trio.destroy());
  trio.member(2).launch();
  await Promise.all([trio.member(0).start(), trio.member(1).start()]);
  await trio.serves(0, 1);
  await trio.untilLogged(2, /client certificate authentication failed/);
});

test("a running cluster moves from http to https, member by member, and serves meanwhile", {
  skip,
}, async (t) => {
  const trio = await start(t, { ...withCertificates, scheme: "http" });
  await trio.serves(0, 1, 2);
  assert.match(trio.member(0).log, /The scheme of peer url http:\S+ is HTTP while key\/cert files/);
  const listed = await trio.ringctl(0, "member", "list");
  for (let i = 0; i < 3; i++) {
    const id = new RegExp(`^(\\w+): name=n${i} `, "m").exec(listed)?.[1] ?? "";
    await trio.ringctl((i + 1) % 3, "member", "update", id, trio.peerUrl(i, "https"));
    await trio.member(i).end("SIGTERM");
    await trio.member(i).start(["--listen-peer-urls", trio.peerUrl(i, "https")]);
    await trio.serves(0, 1, 2);
  }
  const urls = await trio.ringctl(1, "member", "list");
  assert.equal(urls.match(/peerURLs=https:/g)?.length, 3, urls);
});

test("a member joins over TLS", { skip }, async (t) => {
  const trio = await Trio.make({
    flags: (trio, i) => [
      ...peerFlags(ca(), trio.issue(ca(), i)),
      ...(i === 2 ? [] : ["--initial-cluster", `n0=${trio.peerUrl(0)},n1=${trio.peerUrl(1)}`]),
    ],
  });
  t.after(() => trio.destroy());
  await Promise.all([trio.member(0).start(), trio.member(1).start()]);
  await trio.serves(0, 1);
  // Rejected until the two have been connected for five seconds, as by etcd.
  await until("n2 is added", 30_000, async () => {
    const added = trio.ringctl(0, "member", "add", "n2", trio.peerUrl(2));
    return await added.then(
      () => true,
      () => false,
    );
  });
  await trio.member(2).start(["--initial-cluster-state", "existing"]);
  await trio.serves(0, 1, 2);
});

test("all certificate files change under load: no request fails, no stream ends", {
  skip,
}, async (t) => {
  const pairs: Issued[] = [];
  const trio = await start(t, {
    flags: (trio, i) => {
      const { certFile, keyFile } = trio.issue(ca(), i);
      const own = { certFile: `${certFile}.own`, keyFile: `${keyFile}.own` };
      copyFileSync(certFile, own.certFile);
      copyFileSync(keyFile, own.keyFile);
      pairs[i] = { ...own, cert: "", key: "" };
      // A busy machine is silent for a while, too.
      const calm = ["--heartbeat-interval", "1000", "--election-timeout", "5000"];
      return [...peerFlags(ca(), pairs[i] as Issued), ...calm];
    },
  });
  await trio.serves(0, 1, 2);
  let isOver = false;
  const counts = { good: 0, failed: 0 };
  const load = [0, 1, 2].map(async (i) => {
    while (!isOver) counts[(await trio.put(i, "/v2/keys/load", "1")) ? "good" : "failed"]++;
  });
  for (let i = 0; i < 3; i++) {
    const { certFile, keyFile } = trio.issue(ca(), i, { cn: `new${i}` });
    const own = pairs[i] as Issued;
    copyFileSync(keyFile, own.keyFile);
    copyFileSync(certFile, own.certFile);
  }
  for (const i of [0, 1, 2]) await trio.untilLogged(i, /peer TLS: certificate files have changed/);
  const before = counts.good;
  await until("more writes", 20_000, () => counts.good > before + 100);
  isOver = true;
  await Promise.all(load);
  assert.equal(counts.failed, 0);
  for (const member of trio.members) assert.doesNotMatch(member.log, /lost stream|replaced stuck/);
  await trio.member(2).restart();
  await trio.serves(0, 1, 2);
});

test("an https peer URL without a certificate is one line that names it", { skip }, async () => {
  const trio = await Trio.make({ flags: () => [] });
  trio.member(0).launch();
  assert.equal(await trio.member(0).untilExit(), 1);
  assert.match(trio.member(0).log, /^.*peer url https:\/\/\S+:2380 with HTTPS scheme\. See .*\n$/);
  await trio.destroy();
});
