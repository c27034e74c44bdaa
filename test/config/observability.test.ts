import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "#ringd/config/config.js";
import { ConfigError } from "#ringd/config/config-error.js";

function configOf(...argv: string[]) {
  const request = readConfig(argv, {});
  assert.ok(request.kind === "run");
  return request.config;
}

function refusalOf(...argv: string[]): string {
  try {
    readConfig(argv, {});
    return "";
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
}

const ENABLED = "--experimental-enable-distributed-tracing";

test("the defaults are etcd's", () => {
  const { slow, metricsLevel, tracing } = configOf();
  assert.deepEqual(slow, { applyMs: 100, requestMs: 300 });
  assert.equal(metricsLevel, "basic");
  assert.equal(tracing, undefined);
  assert.deepEqual(configOf(ENABLED).tracing, {
    ...{ address: "localhost:4317", serviceName: "etcd", instanceId: "", samplingRate: 0 },
  });
});

test("thresholds are durations of Go", () => {
  const { slow } = configOf(
    ...["--experimental-warning-apply-duration", "1.5s"],
    ...["--experimental-warning-unary-request-duration=1m250ms"],
  );
  assert.deepEqual(slow, { applyMs: 1500, requestMs: 60_250 });
});

test("levels of metrics are basic and extensive; etcd starts with any other one, too", () => {
  assert.equal(configOf("--metrics=extensive").metricsLevel, "extensive");
  const { metricsLevel, warnings } = configOf("--metrics=all");
  assert.equal(metricsLevel, "basic");
  assert.deepEqual(warnings, ["flags accepted but not available: --metrics=all"]);
});

test("a collector's address is a host and a port, a rate is of a million", () => {
  for (const address of ["a:1", "10.0.0.1:4317", "[::1]:4317"]) {
    const flag = `--experimental-distributed-tracing-address=${address}`;
    assert.equal(configOf(ENABLED, flag).tracing?.address, address);
  }
  for (const address of [
    "",
    "a",
    "a:",
    ":4317",
    "http://a:1",
    "a:1/v1",
    "::1:4317",
    "u@a:1",
    "a:65536",
    "a?:1",
    "a%:1",
  ]) {
    const flag = `--experimental-distributed-tracing-address=${address}`;
    assert.match(refusalOf(ENABLED, flag), /-tracing-address: it is a HOST:PORT$/, address);
    assert.equal(refusalOf(flag), "", "of no consequence while tracing is off");
  }
  const rate = (text: string) => `--experimental-distributed-tracing-sampling-rate=${text}`;
  assert.equal(configOf(ENABLED, rate("1000000")).tracing?.samplingRate, 1_000_000);
  assert.match(refusalOf(ENABLED, rate("-1")), /tracing sampling rate must be positive/);
  assert.match(refusalOf(ENABLED, rate("1000001")), /must be less than 1000000/);
  assert.match(refusalOf(rate("x")), /invalid value "x"/);
});
