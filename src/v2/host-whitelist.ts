import { goQuoteBytes } from "../go/text.js";
import { type ApiResponse, plainResponse } from "./plain.js";
import { ContentKind } from "./response.js";

/**
 * `--host-whitelist`: a web page whose name was rebound to a member's address (DNS rebinding,
 * CVE-2018-5702) sends its own name as Host (etcd 3.4, embed/serve.go, accessController).
 */
export class HostWhitelist {
  readonly #hosts: ReadonlySet<string>;

  private constructor(hosts: readonly string[]) {
    this.#hosts = new Set(hosts);
  }

  /** @returns undefined if every host is allowed: "*" is among them, or there are none */
  static of(hosts: readonly string[]): HostWhitelist | undefined {
    return hosts.length === 0 || hosts.includes("*") ? undefined : new HostWhitelist(hosts);
  }

  /**
   * @param header the Host header, latin1 bytes; "" without one
   * @returns undefined if the host is allowed
   */
  refusal(header: string): ApiResponse | undefined {
    const host = hostnameOf(header);
    if (this.#hosts.has(host)) return undefined;
    const quoted = goQuoteBytes(Buffer.from(host, "latin1"));
    const text = `
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist ${quoted}

This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).

`;
    return plainResponse(421, ContentKind.bareError, text);
  }
}

/** The host of `host:port` by Go's net.SplitHostPort; the whole text where that fails. */
export function hostnameOf(text: string): string {
  const colon = text.lastIndexOf(":");
  if (colon < 0) return text;
  if (!text.startsWith("[")) {
    const host = text.slice(0, colon);
    return /[:[\]]/.test(host) || /[[\]]/.test(text.slice(colon)) ? text : host;
  }
  const end = text.indexOf("]");
  if (end < 0 || end + 1 !== colon) return text;
  const host = text.slice(1, end);
  return host.includes("[") || /[[\]]/.test(text.slice(colon)) ? text : host;
}
