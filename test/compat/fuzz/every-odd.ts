import * as odd from "./odd.js";
import { form, type HttpRequest, plain, requestsOf, type Step } from "./step.js";
import * as usual from "./usual.js";

const BOOLS = [
  "recursive",
  "sorted",
  "dir",
  "quorum",
  "stream",
  "noValueOnSuccess",
  "prevExist",
  "refresh",
];

/** Each odd piece at least once, as random sequences may miss some. */
export function everyOddPiece(): Step[] {
  return [...paths(), ...values(), ...parameters(), ...types(), ...others()].map((request) =>
    requestsOf(request),
  );
}

function paths(): HttpRequest[] {
  return odd.SEGMENTS.flatMap((segment) => [
    form("PUT", `/v2/keys/${segment}`, "value=1"),
    plain("GET", `/v2/keys/a/${segment}/b?x=<&y`),
    plain("DELETE", `/v2/keys/${segment}?recursive=true`),
    plain("PUT", `/v2/members/${segment}x`),
  ]);
}

function values(): HttpRequest[] {
  return odd.VALUES.flatMap((value) => {
    const sent = escaped(value);
    return [
      form("PUT", "/v2/keys/v", `value=${sent}`),
      form("PUT", `/v2/keys/${sent.slice(0, 500)}`, `value=${value}`),
      form("PUT", "/v2/keys/v", `prevValue=${sent}&value=${sent}`),
    ];
  });
}

function parameters(): HttpRequest[] {
  const bools = BOOLS.flatMap((name) =>
    odd.BOOLS.map((text, i) =>
      i % 2 === 0
        ? form("PUT", "/v2/keys/p", `value=1&${name}=${escaped(text)}`)
        : plain("GET", `/v2/keys/p?${name}=${escaped(text)}`),
    ),
  );
  const numbers = [...odd.NUMBERS, ...odd.HUGE_NUMBERS].flatMap((text) => [
    form("PUT", "/v2/keys/p", `value=1&prevIndex=${escaped(text)}`),
    plain("GET", `/v2/keys/p?waitIndex=${escaped(text)}`),
    form("PUT", "/v2/keys/unseen", `prevExist=true&ttl=${escaped(text)}`),
  ]);
  const ttls = odd.HUGE_TTLS.map((text) => form("PUT", "/v2/keys/t", `value=1&ttl=${text}`));
  const pairs = odd.PAIRS.flatMap((pair) => [
    form("PUT", "/v2/keys/p", `${pair}&value=after`),
    form("POST", `/v2/keys/p?${pair}`, ""),
  ]);
  return [...bools, ...numbers, ...ttls, ...pairs];
}

function types(): HttpRequest[] {
  const keys = odd.CONTENT_TYPES.flatMap((type) => [
    { ...form("PUT", "/v2/keys/c", "value=body"), headers: [["Content-Type", type] as const] },
    { ...form("POST", "/v2/keys/c?value=%zz", ""), headers: [["content-type", type] as const] },
  ]);
  const members = [...odd.MEMBER_TYPES, ...odd.CONTENT_TYPES].map((type) => ({
    ...form("POST", "/v2/members", "{"),
    headers: [["Content-Type", type] as const],
  }));
  const bodies = odd.MEMBER_BODIES.map((body) => ({
    ...form("POST", "/v2/members", body),
    headers: [["Content-Type", "application/json"] as const],
  }));
  return [...keys, ...members, ...bodies];
}

function others(): HttpRequest[] {
  const methods = [...odd.METHODS, "GET", "HEAD", "PUT", "POST", "DELETE"];
  return [
    ...usual.OTHER_PATHS.flatMap((path) =>
      ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "FOO"]
        .filter((method) => method !== "DELETE" || !path.startsWith("/v2/members"))
        .map((method) => plain(method, path)),
    ),
    ...methods.map((method) => plain(method, "/v2/keys/m?wait=x")),
    ...odd.HEADERS.map((header) => ({
      ...form("PUT", "/v2/keys/h", "value=1"),
      headers: [header],
    })),
    ...odd.HEADERS.map((header) => ({ ...plain("GET", "/v2/keys/h"), headers: [header] })),
  ];
}

function escaped(text: string): string {
  return text.replace(
    /[^A-Za-z0-9]/g,
    (character) => `%${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
