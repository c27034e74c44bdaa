import assert from "node:assert/strict";
import { test } from "node:test";
import { type Config, readConfig } from "#ringd/config/config.js";
import { ConfigError } from "#ringd/config/config-error.js";

const FLAGS = ["listen-client-urls", "listen-peer-urls", "listen-metrics-urls"] as const;

function read(flag: string, urls: string): Config | ConfigError {
  const argv = ["--advertise-client-urls", "http://127.0.0.1:2379", `--${flag}`, urls];
  try {
    const request = readConfig(argv, {});
    assert.ok(request.kind === "run");
    return request.config;
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
}

/** Exit code and message of etcd 3.4.23; "" if it starts. */
const AS_ETCD: readonly (readonly [urls: string, exitCode: 0 | 1 | 2, says: string])[] = [
  ["http://127.0.0.1:2379", 0, ""],
  ["HTTP://127.0.0.1:2379", 0, ""],
  ["http://localhost:2379", 0, ""],
  ["http://0.0.0.0:2379", 0, ""],
  ["http://[::]:2379", 0, ""],
  ["http://[::ffff:127.0.0.1]:2379", 0, ""],
  ["http://127.0.0.1:0", 0, ""],
  ["http://127.0.0.1:", 0, ""],
  ["http://127.0.0.1:02379", 0, ""],
  ["http://127.0.0.1:2379, http://127.0.0.2:2379", 0, ""],
  ["http://127.0.0.1:2379?a=b", 0, ""],
  ["http://127.0.0.1:2379#f", 0, ""],
  ["http://me:secret@127.0.0.1:2379", 0, ""],
  ["unix://some.sock:1", 0, ""],
  ["", 0, ""],
  ["http://host.example:2379", 1, "expected IP in URL for binding (http://host.example:2379)"],
  ["http://LOCALHOST:2379", 1, "expected IP in URL for binding (http://LOCALHOST:2379)"],
  ["http://localhost.:2379", 1, "expected IP in URL for binding (http://localhost.:2379)"],
  ["http://:2379", 1, "expected IP in URL for binding (http://:2379)"],
  ["http://[fe80::1%25lo]:2379", 1, "expected IP in URL for binding (http://[fe80::1%25lo]:2379)"],
  ["http://127.0.0.01:2379", 1, "expected IP in URL for binding (http://127.0.0.01:2379)"],
  ["http://127.1:2379", 1, "expected IP in URL for binding (http://127.1:2379)"],
  ["http://0x7f000001:2379", 1, "expected IP in URL for binding (http://0x7f000001:2379)"],
  ["http://127.0.0.1:65536", 1, "invalid port"],
  ["http://127.0.0.1:99999999999", 1, "invalid port"],
  ["https://127.0.0.1:2379", 1, "TLS"],
  ["HTTPS://127.0.0.1:2379", 1, "TLS"],
  ["unixs://some.sock:1", 1, "TLS"],
  ["http://127.0.0.1", 2, 'URL address does not have the form "host:port"'],
  ["http://::1:2379", 2, 'URL address does not have the form "host:port"'],
  ["http://[fe80::1%lo]:2379", 2, "invalid URL escape"],
  ["http://127.0.0.1:2379/", 2, "URL must not contain a path"],
  ["http://127.0.0.1:2379/foo", 2, "URL must not contain a path"],
  ["unix:///tmp/some.sock", 2, 'URL address does not have the form "host:port"'],
  ["ftp://127.0.0.1:2379", 2, "URL scheme must be http, https, unix, or unixs"],
  ["127.0.0.1:2379", 2, "first path segment in URL cannot contain colon"],
  ["http://127.0.0.1:2379,", 2, "URL scheme must be http, https, unix, or unixs"],
];

for (const flag of FLAGS) {
  test(`--${flag}: every form is accepted or rejected as by etcd`, () => {
    for (const [urls, exitCode, says] of AS_ETCD) {
      const outcome = read(flag, urls);
      if (exitCode === 0) assert.ok(!(outcome instanceof ConfigError), `${urls}: ${outcome}`);
      else {
        assert.ok(outcome instanceof ConfigError, urls);
        assert.equal(outcome.exitCode, exitCode, urls);
        assert.ok(outcome.message.includes(says), `${urls}: ${outcome.message}`);
        assert.ok(!outcome.message.includes("\n"), urls);
      }
    }
  });
}

test("user, query and fragment are ignored; the same text twice is one client URL", () => {
  const one = read(
    "listen-client-urls",
    "http://me@127.0.0.1:1?a=b,http://127.0.0.1:1,http://[::1]:1",
  );
  assert.ok(!(one instanceof ConfigError));
  assert.deepEqual(
    one.listenClientUrls.map(({ host, port }) => `${host} ${port}`),
    ["127.0.0.1 1", "::1 1"],
  );
  const two = read("listen-peer-urls", "http://127.0.0.1:1,http://127.0.0.1:1");
  assert.ok(!(two instanceof ConfigError));
  assert.equal(two.listenPeerUrls.length, 2, "as in etcd, where the second finds the port in use");
});
