import { isIPv6 } from "node:net";
import { parseArgs } from "node:util";
import { ConfigError } from "../config/config-error.js";
import { parseGoDuration } from "../go/duration.js";

/** What `ringd gateway start` was asked for. */
export interface GatewayFlags {
  readonly listenAddr: HostPort;
  /** Undefined if only the default is left. */
  readonly endpoints: readonly HostPort[];
  readonly areEndpointsGiven: boolean;
  readonly srvDomain: string;
  readonly srvName: string;
  /** Take endpoints that DNS lists without TLS. */
  readonly isInsecure: boolean;
  readonly trustedCaFile: string;
  readonly retryDelayMs: number;
}

export interface HostPort {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

export const GATEWAY_USAGE = `Usage:

  ringd gateway start [flags]
    Start a gateway: forward TCP connections to the members of a cluster.

Flags:
  --listen-addr '127.0.0.1:23790'
    Address to listen on.
  --endpoints '127.0.0.1:2379'
    Comma-separated addresses of the members.
  --discovery-srv ''
    DNS domain whose SRV records list the members.
  --discovery-srv-name ''
    Suffix of the DNS service name.
  --insecure-discovery 'false'
    Take members from DNS that are not https, or whose certificates are not for the domain.
  --trusted-ca-file ''
    CAs of the certificates of members from DNS, PEM.
  --retry-delay '1m0s'
    Time until a member that failed is tried again.
`;

const PORT_MAX = 65_535;
/** Node's timers end there. */
const DELAY_MS_MAX = 2 ** 31 - 1;

/** @returns "help" if that was asked for @throws ConfigError */
export function readGatewayFlags(argv: readonly string[]): GatewayFlags | "help" {
  const [command = ""] = argv;
  if (command === "" || command === "help" || /^--?h(elp)?$/.test(command)) return "help";
  if (command !== "start") throw new ConfigError(`unknown command "${command}" for "gateway"`, 1);
  const values = parse(argv.slice(1));
  if (values.help === true) return "help";
  const text = (flag: string) => values[flag] as string;
  const endpoints = text("endpoints")
    .split(",")
    .map((item) =>
      item
        .trim()
        .replace(/^\w+:\/\//, "")
        .replace(/\/.*$/, ""),
    )
    .filter((item) => item !== "");
  return {
    listenAddr: hostPort("listen-addr", text("listen-addr")),
    endpoints: endpoints.map((item) => hostPort("endpoints", item)),
    areEndpointsGiven: argv.some((arg) => /^--endpoints(=|$)/.test(arg)),
    srvDomain: text("discovery-srv"),
    srvName: text("discovery-srv-name"),
    isInsecure: values["insecure-discovery"] === true,
    trustedCaFile: text("trusted-ca-file"),
    retryDelayMs: delayMs("retry-delay", text("retry-delay")),
  };
}

function parse(argv: readonly string[]): Record<string, string | boolean | undefined> {
  const string = (value: string) => ({ type: "string", default: value }) as const;
  try {
    return parseArgs({
      args: [...argv],
      options: {
        "listen-addr": string("127.0.0.1:23790"),
        endpoints: string("127.0.0.1:2379"),
        "discovery-srv": string(""),
        "discovery-srv-name": string(""),
        "insecure-discovery": { type: "boolean", default: false },
        "trusted-ca-file": string(""),
        "retry-delay": string("1m"),
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    const [why = ""] = (error as Error).message.split("\n", 1);
    throw new ConfigError(`gateway: ${why}`, 1);
  }
}

function hostPort(flag: string, text: string): HostPort {
  const [, bracketed, plain, port = ""] = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const isBad = bracketed !== undefined && !isIPv6(bracketed);
  if (host === undefined || isBad || Number(port) > PORT_MAX) {
    throw new ConfigError(`gateway: --${flag} has "${text}", which is not host:port`, 1);
  }
  return { host, port: Number(port) };
}

function delayMs(flag: string, text: string): number {
  const ms = Number(parseGoDuration(text) ?? 0n) / 1e6;
  if (ms > 0 && ms <= DELAY_MS_MAX) return ms;
  throw new ConfigError(`gateway: --${flag} is "${text}", and must be a time above 0, as 1m30s`, 1);
}

export function hostPortText({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
