import { once } from "node:events";
import type { IncomingMessage, RequestOptions } from "node:http";
import { isIP, type Socket } from "node:net";
import { DiscoveryUnreachableError } from "./discovery-error.js";

/**
 * The proxy that --discovery-proxy names; as in etcd, "http://" may be missing.
 *
 * @returns undefined if the text is not a URL
 */
export function parseProxyUrl(text: string): URL | undefined {
  const whole = /^https?:\/\//i.test(text) ? text : `http://${text}`;
  return URL.canParse(whole) ? new URL(whole) : undefined;
}

/** Options of node:http that send a plain HTTP request through a proxy. */
export function throughProxy(proxy: URL, target: URL): RequestOptions {
  return {
    hostname: proxy.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: proxy.port || (proxy.protocol === "https:" ? 443 : 80),
    path: `${target.origin}${target.pathname}${target.search}`,
    headers: { Host: target.host, ...proxyAuthorization(proxy) },
  };
}

/** A connection to an https server through a proxy. @throws DiscoveryUnreachableError, Error */
export async function connectThrough(
  proxy: URL,
  target: URL,
  signal: AbortSignal,
): Promise<Socket> {
  const { request } = await import(proxy.protocol === "https:" ? "node:https" : "node:http");
  const authority = `${target.hostname}:${target.port || 443}`;
  const asked = request({
    ...throughProxy(proxy, target),
    method: "CONNECT",
    path: authority,
    headers: { Host: authority, ...proxyAuthorization(proxy) },
    agent: false,
    signal,
  });
  asked.end();
  const [response, socket] = (await once(asked, "connect")) as [IncomingMessage, Socket];
  if (response.statusCode !== 200) {
    socket.destroy();
    throw new DiscoveryUnreachableError(`the proxy answered CONNECT with ${response.statusCode}`);
  }
  const { connect } = await import("node:tls");
  const host = target.hostname.replace(/^\[(.*)\]$/, "$1");
  const secure = connect({ socket, host, ...(isIP(host) === 0 ? { servername: host } : {}) });
  try {
    await once(secure, "secureConnect", { signal });
  } catch (error) {
    secure.on("error", () => undefined); // What comes after the timeout.
    secure.destroy();
    throw error;
  }
  return secure;
}

function proxyAuthorization({ username, password }: URL): Record<string, string> {
  if (username === "") return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { "Proxy-Authorization": `Basic ${Buffer.from(pair).toString("base64")}` };
}
