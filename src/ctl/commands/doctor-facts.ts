import { connect } from "node:net";
import type { Client } from "../../client/client.js";
import { ClientError, MemberError, UnavailableError } from "../../client/errors.js";
import type { Member } from "../../client/responses.js";
import { endpointText } from "../output/errors.js";
import { Metrics } from "./metrics-text.js";

/** What one member says, and how it is reached from here. */
export interface MemberFacts {
  readonly member: Member;
  /** Its name, or its id before it has one. */
  readonly label: string;
  /** By URL: why it cannot be used from here; undefined if it can. */
  readonly clientUrls: ReadonlyMap<string, string | undefined>;
  readonly peerUrls: ReadonlyMap<string, string | undefined>;
  /** Undefined if no client URL answers, or not in time. */
  readonly state: MemberState | undefined;
}

export interface MemberState {
  readonly isHealthy: boolean;
  /** The failed checks of /readyz, if there are any. */
  readonly failedChecks: string;
  /** Id of the leader it knows; "" for none, undefined if it does not say. */
  readonly leader: string | undefined;
  /** Undefined if it refuses them. */
  readonly metrics: Metrics | undefined;
  /** Milliseconds of a small request from here. */
  readonly tookMs: number;
}

/** Addresses that mean another machine, or none, on every machine. */
const WILDCARD = /^(0\.0\.0\.0|\[::\])$/;

export interface Patience {
  /** To reach a URL. */
  readonly timeoutMs: number;
  /** Until a member that is reached has answered all questions: it may have to hash a password. */
  readonly answerMs: number;
}

export async function gather(
  client: Client,
  members: readonly Member[],
  patience: Patience,
): Promise<MemberFacts[]> {
  return await Promise.all(members.map((member) => factsOf(client, member, patience)));
}

async function factsOf(
  client: Client,
  member: Member,
  { timeoutMs, answerMs }: Patience,
): Promise<MemberFacts> {
  const [clientUrls, peerUrls] = await Promise.all([
    byUrl(member.clientURLs, (url) => whyNoClient(client, url, timeoutMs)),
    byUrl(member.peerURLs, (url) => whyNoConnection(url, timeoutMs)),
  ]);
  const [endpoint] = [...clientUrls].find(([, why]) => why === undefined) ?? [];
  const state = endpoint === undefined ? undefined : await stateAt(client, endpoint, answerMs);
  return { member, label: member.name || member.id, clientUrls, peerUrls, state };
}

async function byUrl(
  urls: readonly string[],
  look: (url: string) => Promise<string | undefined>,
): Promise<Map<string, string | undefined>> {
  const all = urls.map(async (url) => {
    // With a zone, Go takes an address that no URL here can have.
    if (!URL.canParse(url)) return [url, "is no URL that can be reached from here"] as const;
    const why = WILDCARD.test(new URL(url).hostname) ? "is no address of a machine" : undefined;
    return [url, why ?? (await look(url))] as const;
  });
  return new Map(await Promise.all(all));
}

async function whyNoClient(
  client: Client,
  endpoint: string,
  timeoutMs: number,
): Promise<string | undefined> {
  try {
    await client.version({ endpoint, timeoutMs });
    return undefined;
  } catch (error) {
    if (error instanceof UnavailableError) {
      const [first] = error.errors;
      return first === undefined ? error.message : await endpointText(first);
    }
    if (error instanceof ClientError) return error.message;
    throw error;
  }
}

/** A TCP connection: what a member asks of another one's certificate is not for us to show. */
function whyNoConnection(url: string, timeoutMs: number): Promise<string | undefined> {
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port || (protocol === "https:" ? 443 : 80)) });
    const end = (why: string | undefined) => {
      socket.destroy();
      resolve(why);
    };
    socket.setTimeout(timeoutMs, () => end("no answer"));
    socket.once("connect", () => end(undefined));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  });
}

async function stateAt(
  client: Client,
  endpoint: string,
  timeoutMs: number,
): Promise<MemberState | undefined> {
  const call = { endpoint, timeoutMs };
  try {
    // One connection is open already; this measures the way to the member and back.
    const startMs = performance.now();
    await client.version(call);
    const tookMs = performance.now() - startMs;
    const [isHealthy, failedChecks, leader, metrics] = await Promise.all([
      client.health(call),
      failedChecksAt(client, call),
      leaderAt(client, call),
      client.request("GET", "/metrics", call),
    ]);
    const isShown = metrics.status === 200;
    return {
      ...{ isHealthy, failedChecks, leader, tookMs },
      metrics: isShown ? new Metrics(metrics.body) : undefined,
    };
  } catch (error) {
    if (error instanceof ClientError) return undefined;
    throw error;
  }
}

type Call = { readonly endpoint: string; readonly timeoutMs: number };

async function failedChecksAt(client: Client, call: Call): Promise<string> {
  try {
    await client.request("GET", "/readyz", call);
    return "";
  } catch (error) {
    const [first] = error instanceof UnavailableError ? error.errors : [];
    if (!(first instanceof MemberError)) return "";
    const lines = first.body.split("\n").filter((line) => line.startsWith("[-]"));
    return lines.map((line) => line.slice("[-]".length)).join("; ");
  }
}

async function leaderAt(client: Client, call: Call): Promise<string | undefined> {
  try {
    const { status, body } = await client.request("GET", "/v2/members/leader", call);
    return status === 200 ? (JSON.parse(body) as Member).id : undefined;
  } catch (error) {
    // During an election the response is 503.
    if (error instanceof UnavailableError && error.errors[0] instanceof MemberError) return "";
    throw error;
  }
}
