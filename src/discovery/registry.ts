import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import { messageOf } from "../lib/errors.js";
import { DiscoveryUnreachableError } from "./discovery-error.js";
import { connectThrough, parseProxyUrl, throughProxy } from "./http-proxy.js";

/** A response of the v2 API below a token. */
export interface RegistryAnswer {
  readonly status: number;
  /** X-Etcd-Index; 0 without one. */
  readonly index: number;
  /** Undefined if it is not JSON; null if it is empty, as when a long poll was ended. */
  readonly body: unknown;
}

export interface RegistryCall {
  readonly method: "GET" | "PUT";
  readonly url: string;
  /** Sent as a form's value. */
  readonly value?: string;
  /** Undefined for a watch: it waits as long as the connection lives. */
  readonly timeoutMs: number | undefined;
}

/** A discovery service, as the members that use it see it. */
export interface Registry {
  /** @throws DiscoveryUnreachableError for whatever may go away by itself */
  call(call: RegistryCall): Promise<RegistryAnswer>;
}

const BODY_BYTES_MAX = 4 * 1024 * 1024;
const REDIRECTS_MAX = 10;
/** Of a redirect, in a message. */
const LOCATION_MAX = 256;
/** Finds a service that vanished while a watch waits. */
const KEEP_ALIVE_MS = 30_000;

/** @param proxyText of --discovery-proxy; "" for none */
export function httpRegistry(proxyText: string): Registry {
  const proxy = proxyText === "" ? undefined : parseProxyUrl(proxyText);
  return { call: (call) => follow(call, proxy) };
}

async function follow(call: RegistryCall, proxy: URL | undefined): Promise<RegistryAnswer> {
  let { url } = call;
  for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects++) {
    const answer = await callOnce({ ...call, url }, proxy);
    if (answer.kind === "answer") return answer.answer;
    if (!URL.canParse(answer.location, url)) {
      const where = JSON.stringify(answer.location.slice(0, LOCATION_MAX));
      throw new DiscoveryUnreachableError(`the service redirects to ${where}, which is not a URL`);
    }
    url = new URL(answer.location, url).href;
  }
  throw new DiscoveryUnreachableError("too many redirects");
}

type Outcome =
  | { readonly kind: "answer"; readonly answer: RegistryAnswer }
  | { readonly kind: "redirect"; readonly location: string };

async function callOnce(call: RegistryCall, proxy: URL | undefined): Promise<Outcome> {
  const signal =
    call.timeoutMs === undefined
      ? new AbortController().signal
      : AbortSignal.timeout(call.timeoutMs);
  try {
    const response = await send(call, proxy, signal);
    const { statusCode: status = 0, headers } = response;
    if (status >= 300 && status < 400 && headers.location !== undefined) {
      response.destroy();
      return { kind: "redirect", location: headers.location };
    }
    const text = await readText(response);
    if (status >= 500) {
      throw new DiscoveryUnreachableError(`the service answered with status ${status}`);
    }
    const index = Number(headers["x-etcd-index"] ?? 0);
    return { kind: "answer", answer: { status, index, body: parseBody(text) } };
  } catch (error) {
    if (error instanceof DiscoveryUnreachableError) throw error;
    const why = signal.aborted ? `no response within ${call.timeoutMs} ms` : messageOf(error);
    throw new DiscoveryUnreachableError(why);
  }
}

async function send(
  { method, url, value }: RegistryCall,
  proxy: URL | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const target = new URL(url);
  const isHttps = target.protocol === "https:";
  const { request } = await import(
    isHttps || (proxy?.protocol === "https:" && !isHttps) ? "node:https" : "node:http"
  );
  let route: RequestOptions = {};
  if (proxy !== undefined && !isHttps) route = throughProxy(proxy, target);
  else if (proxy !== undefined) {
    const socket = await connectThrough(proxy, target, signal);
    route = { createConnection: () => socket };
  }
  const form = value === undefined ? undefined : new URLSearchParams({ value }).toString();
  const headers: Record<string, string> = { ...(route.headers as Record<string, string>) };
  if (form !== undefined) {
    headers["Content-Type"] = "application/x-www-form-urlencoded";
    headers["Content-Length"] = String(form.length);
  }
  return await new Promise((resolve, reject) => {
    const sent: ClientRequest = request(
      target,
      { ...route, method, headers, agent: false, signal },
      resolve,
    );
    sent.on("error", reject);
    sent.on("socket", (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
    sent.end(form);
  });
}

async function readText(response: IncomingMessage): Promise<string> {
  let text = "";
  response.setEncoding("utf8");
  for await (const part of response as AsyncIterable<string>) {
    text += part;
    if (text.length > BODY_BYTES_MAX) {
      throw new DiscoveryUnreachableError(`the response is longer than ${BODY_BYTES_MAX} bytes`);
    }
  }
  return text;
}

function parseBody(text: string): unknown {
  if (text.trim() === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
