import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { after, test } from "node:test";
import type { TLSSocket } from "node:tls";
import type { TlsSettings } from "#ringd/config/tls.js";
import { alternativeNames, type Names, whyClientRejected } from "#ringd/tls/peer-checks.js";
import { Authority, NO_OPENSSL } from "./authority.js";
import { tlsSettings } from "./settings.js";

const skip = NO_OPENSSL;
const authority = skip ? undefined : new Authority();
after(() => authority?.remove());

/** A connection of a member whose certificate is for these names, as OpenSSL writes them. */
function connectionOf(names: string): TLSSocket {
  assert.ok(authority);
  const certificate = new X509Certificate(authority.issue({ names }).cert);
  const shown = { raw: certificate.raw, subject: { CN: "member" } };
  return { authorized: true, getPeerCertificate: () => shown } as unknown as TLSSocket;
}

const HOSTS: Readonly<Record<string, readonly string[]>> = {
  "n1.example.com": ["10.0.0.1", "fd00::1"],
  "other.example.com": ["10.0.0.9"],
};
const dns: Names = {
  addresses: async (name) =>
    HOSTS[name] ?? Promise.reject(new Error(`lookup ${name}: no such host`)),
  names: async (address) => {
    const found = Object.keys(HOSTS).filter((name) => HOSTS[name]?.includes(address));
    if (found.length === 0) throw new Error(`lookup ${address}: no such address`);
    return found.map((name) => `${name}.`);
  },
};

function reason(
  names: string,
  address: string,
  some: Partial<TlsSettings> = {},
): Promise<string | undefined> {
  const settings = tlsSettings({ side: "peer", requiresClientCert: true, ...some });
  const material = { pair: undefined, ca: undefined, revoked: undefined, warnings: [] };
  return whyClientRejected(connectionOf(names), address, { settings, material }, dns);
}

test("a member connects from an address of its certificate: etcd's rules and texts", {
  skip,
}, async () => {
  const accepted: readonly (readonly [names: string, address: string])[] = [
    ["", "10.9.9.9"],
    ["IP:10.0.0.1", "10.0.0.1"],
    ["IP:fd00::1", "fd00:0:0::1"],
    ["DNS:n1.example.com", "10.0.0.1"],
    ["DNS:n1.example.com", "fd00::1"],
    ["DNS:*.example.com", "10.0.0.1"],
    ["IP:10.0.0.7,DNS:n1.example.com", "10.0.0.1"],
    ["DNS:nowhere.example.com,DNS:n1.example.com", "10.0.0.1"],
    ["URI:spiffe://x/y,email:a@b.c", "10.9.9.9"],
  ];
  for (const [names, address] of accepted) {
    assert.equal(await reason(names, address), undefined, `${names} from ${address}`);
  }
  const rejected: readonly (readonly [names: string, address: string, why: string])[] = [
    ["IP:10.0.0.1", "10.0.0.2", "x509: certificate is valid for 10.0.0.1, not 10.0.0.2"],
    [
      "DNS:n1.example.com",
      "10.0.0.9",
      'tls: "10.0.0.9" does not match any of DNSNames ["n1.example.com"]',
    ],
    [
      "DNS:*.example.org,DNS:n1.example.com",
      "10.0.0.9",
      'tls: "10.0.0.9" does not match any of DNSNames ["*.example.org" "n1.example.com"]' +
        " (lookup *.example.org: no such host)",
    ],
    [
      "IP:10.0.0.1,DNS:nowhere.example.com",
      "10.9.9.9",
      'tls: "10.9.9.9" does not match any of DNSNames ["nowhere.example.com"]' +
        " (lookup nowhere.example.com: no such host)",
    ],
  ];
  for (const [names, address, why] of rejected) assert.equal(await reason(names, address), why);
});

test("no names are looked up where nothing depends on them", { skip }, async () => {
  const skipped = { skipClientSanVerify: true };
  assert.equal(await reason("DNS:nowhere.example.com", "10.9.9.9", skipped), undefined);
  assert.equal(await reason("DNS:nowhere.example.com", ""), undefined, "a unix socket");
  const cn = { allowedCn: "someone else" };
  assert.equal(await reason("DNS:n", "10.9.9.9", cn), "client certificate authentication failed");
  assert.equal(await reason("DNS:n", "10.9.9.9", { requiresClientCert: false }), undefined);
});

test("names with commas and quotes are read as one", { skip }, () => {
  assert.ok(authority);
  const names = authority.write(
    "strange.cnf",
    'DNS.1 = a\nDNS.2 = b, DNS:evil\nIP.1 = 10.0.0.1\nDNS.3 = c"d\n',
  );
  const wish = { names: `@alt\n[alt]\n.include = ${names}` };
  const { dns, ips } = alternativeNames(new X509Certificate(authority.issue(wish).cert));
  assert.deepEqual(ips, ["10.0.0.1"]);
  assert.ok(dns.includes("a") && !dns.includes("evil"), dns.join("|"));
});
