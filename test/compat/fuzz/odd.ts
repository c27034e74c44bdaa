/**
 * Input that only fuzzers send. Texts are bytes, one per character.
 *
 * Excluded, as HTTP parsers differ: blanks and control characters in request targets, malformed
 * lines and headers, targets that are not a path, HTTP versions other than 1.1. Of raw bytes from
 * 0x80 on, which etcd accepts anywhere, those in headers, which uWebSockets.js trims, and in
 * targets invalid UTF-8, which ringd rejects, together with U+FFFD, its replacement in the library.
 * Percent-encoded and in bodies all bytes are used.
 */

const utf8 = (text: string) => Buffer.from(text).toString("latin1");

/** Path segments and separators. */
// biome-ignore format: as many to a line as fit
export const SEGMENTS: readonly string[] = [
  "", ".", "..", "...", ".a", "a.", "%2e", "%2e%2e", "%2E%2e", "%2F", "%2f%2F", "a%2Fb", "%2f..",
  "%20", "%00", "%7F", "%0a", "%0D%0A", "%09", "%25", "%3F", "%23", "%2B", "%26", "%3B", "%41",
  "%ff", "%FF%FE", "%C3%A9", "%c3", "%E2%80%A8", "%F0%9F%98%80", "%ED%A0%80", "%C0%AF", "%80",
  "%", "%4", "%zz", "%%", "%u0041", "%1", "a%", "%e9%", "%g0", "+", "*", "~", "!", "$", "&", "'",
  "(", ")", ",", ";", "=", ":", "@", "#", "#a", "a#b", '"', "<", ">", "[", "]", "{", "}", "|",
  "\\", "^", "`", "a:b", "http:", "//host", "_", "__", "_.", "_h", "_%61", "%5Fh", "%5f",
  "\xe2\x80\xa8", utf8("é"), utf8("日本"), utf8("😀"), utf8("e\u0301"), utf8("\ufeff"),
  utf8("\u2028"), "a".repeat(300), "00000000000000000007", "v2", "keys", "0", "1", "-", "a=b",
  "%3Ca%3E", "%22",
];

/** Values of keys, and of comparisons. */
// biome-ignore format: as many to a line as fit
export const VALUES: readonly string[] = [
  "", " ", "+", "%", "&", "=", "a=b&c=d", ";", "a;b", "\0", "\x01\x1f\x7f", "\r\n", "\t",
  '"\\/\b\f', "<a href='x'>&amp;</a>", "\xff\xfe", "\x80", "\xc3\x28", "\xed\xa0\x80",
  "\xf4\x90\x80\x80", utf8("é日本😀"), utf8("\u2028\u2029"), utf8("\ufffd"), utf8("\ufeff"),
  "\xef\xbf", "\xf0\x9f\x98", '{"action":"get","node":{"nodes":[]}}', "[x != y]", "/1/a", "null",
  "0", "-1", "true", "false", "v".repeat(2047), "v".repeat(2048), "\x01".repeat(700),
  "v".repeat(70_000), "%41", "%zz",
];

// biome-ignore format: as many to a line as fit
export const BOOLS: readonly string[] = [
  "", "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False", "yes",
  "no", "tRUE", "TrUe", "2", "-1", "01", "on", " true", "true ", "null", "t\0", "\xff",
];

/** For indexes, and for `ttl` apart from those that name a time: see `HUGE_TTLS`. */
// biome-ignore format: as many to a line as fit
export const NUMBERS: readonly string[] = [
  "", "-1", "-0", "+1", "1.0", "1.5", "1e3", "0x10", "0b1", "0o7", "1_000", " 1", "1 ", "abc",
  "१", "NaN", "Infinity", "1,000", "--1", "1\0", "\0", "\xff", "true", "9".repeat(400),
  "a".repeat(300), "18446744073709551616", "99999999999999999999", "-9223372036854775808", "1\n",
];

/** Valid as unsigned 64-bit numbers; a double does not hold all of them. */
// biome-ignore format: as many to a line as fit
export const HUGE_NUMBERS: readonly string[] = [
  "9007199254740991", "9007199254740992", "9007199254740993", "9007199254740995",
  "9223372036854775807", "9223372036854775808", "9223372036854775809", "4294967296",
  "18446744073709551615", "18446744073709551614", "18446744073709551613", "2147483648",
  "1000000000000000", "999999999999999", "10000000000000001", "00000000000000000000000000000005",
];

/** Seconds that fit in etcd's 64 bits of nanoseconds, or wrap: years from now, or long ago. */
// biome-ignore format: as many to a line as fit
export const HUGE_TTLS: readonly string[] = [
  "1000000000", "1000000001", "4000000000", "7000000000", "8000000000", "9000000000",
  "9223372036", "9223372037", "9999999999", "18446754073", "18446755000", "27670116110",
  "9223372036854775807", "9223372036854775808", "18446744073709551615", "36893498147",
  "18446744073709551516", "15000000000", "16000000000", "17000000000", "18446744000",
];

// biome-ignore format: as many to a line as fit
export const CONTENT_TYPES: readonly string[] = [
  "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8",
  "Application/X-WWW-Form-URLEncoded", "application/x-www-form-urlencoded;", " ", "text/plain",
  'application/x-www-form-urlencoded ; charset="utf-8"', "application/json",
  "application/octet-stream", "multipart/form-data; boundary=xx", "multipart/form-data",
  "multipart/mixed; boundary=xx", "x", "/", "application/", "/x", "a/b/c", "a b",
  "application/x-www-form-urlencoded; charset", "; charset=x",
  "application/x-www-form-urlencoded; a=1; a=2", "application/x-www-form-urlencoded; a=1; a=1",
  "application/x-www-form-urlencoded; a*=utf-8''%e2%82%ac", "text/plain; a*0=x; a*1=y; a*0=z",
  'application/x-www-form-urlencoded; a="\\""', 'application/x-www-form-urlencoded; a="x',
  "application/x-www-form-urlencoded, text/plain", "application/x-www-form-urlencoded;;",
  "application/x-www-form-urlencoded; =x", "application/x-www-form-urlencoded; a = b", "*/*",
  "a/b;c=d/e", "text/plain; a*=x", "text/plain; a*1=x", "text/plain; a*=utf-8'en'x; a=y",
  "text/plain; a*0*=%zz",
];

// biome-ignore format: as many to a line as fit
export const METHODS: readonly string[] = [
  "PATCH", "TRACE", "PROPFIND", "LINK", "M-SEARCH", "FOO", "OPTIONS", "OPTIONS", "G", "GETT",
  "PURGE", "X!#$%&'*+-.^_`|~", "DELETE1", "HEADS",
];

export const HEADERS: readonly (readonly [string, string])[] = [
  ["Accept", "text/html"],
  ["Accept-Encoding", "gzip, deflate"],
  ["Authorization", "Basic cm9vdDpyb290"],
  ["Authorization", "Basic %%%"],
  ["Authorization", "Bearer x"],
  ["Connection", "close"],
  ["Content-Encoding", "gzip"],
  ["Cookie", "a=b"],
  ["Expect", "100-continue"],
  ["If-Match", "*"],
  ["If-None-Match", "*"],
  ["Origin", "http://example.com"],
  ["Range", "bytes=0-3"],
  ["User-Agent", ""],
  ["X-Forwarded-For", "10.0.0.1"],
  ["X-HTTP-Method-Override", "DELETE"],
  ["X-Etcd-Index", "5"],
  ["x-empty", ""],
];

/** Bodies of writes to /v2/members that must change nothing. */
// biome-ignore format: as many to a line as fit
export const MEMBER_BODIES: readonly string[] = [
  "", "{", "null", "true", "1", '"x"', "[]", "{}", '{"peerURLs":null}', '{"peerURLs":[]}', "nul",
  '{"peerURLs":"http://a:1"}', '{"peerURLs":[1]}', '{"peerURLs":[null]}', '{"peerURLs":{}}',
  "\xff", '{"peerURLs":[""]}', '{"peerURLs":["a:1"]}', '{"peerURLs":["http://a"]}',
  '{"peerURLs":["ftp://a:1"]}', '{"peerURLs":["http://a:1/path"]}',
  '{"peerURLs":["http://a:1","x"]}', '{"peerURLs":["http://[::1"]}',
  '{"peerURLs":["http://a b:1"]}', '{"peerURLs":["http://%zz:1"]}', '{"peerURLs":["://"]}',
  "{}{}", "{},", "[1,]", '{"peerURLs":[true]}', '{"peerURLs":[[]]}', '{"a":1,}', "\ufeff{}",
  '{"peerURLs":["\\u0000"]}', '{"peerURLs":["\\ud800"]}', '{"peerURLs":["http://a:b"]}',
  '{"peerURLs":1e400}',
];

// biome-ignore format: as many to a line as fit
export const MEMBER_TYPES: readonly string[] = [
  "application/json", "application/json; charset=utf-8", "Application/JSON", "text/json", "",
  "json", "application/json;", "application/json;x", " application/json ",
  "application/x-www-form-urlencoded",
];

/** Pieces of queries and forms. */
// biome-ignore format: as many to a line as fit
export const PAIRS: readonly string[] = [
  "=", "=x", "value", "value=", "value=a=b", "%zz=1", "value=%", "value=%4", "value=%zz", "%",
  "a;b", "value=a;ttl=5", ";", "&", "value=\xff", "%76alue=enc", "value=%00", "val%75e=u",
  "ttl=%31%30%30%30%30", "value=%FF%e9", "%e9=%zz", "value=%\xe9\xe9", "value=%\xc3\xa9", 'a=%"x',
  "recursive=true=1", "dir", "+value=1", "value+=1", "value=1+1", "?value=1", "#", "value=#",
  "prevExist=", "refresh=", "ttl=",
];
