import { lookup } from "node:dns/promises";
import { lstatSync, unlinkSync } from "node:fs";
import { connect } from "node:net";

/**
 * The address to bind for the one name that may stand in a URL to listen on: as in etcd a single
 * address, IPv4 if there is one. Libraries would choose each by a rule of its own.
 */
export async function bindAddressOf(host: string): Promise<string> {
  if (host !== "localhost") return host;
  try {
    const addresses = await lookup(host, { all: true });
    const chosen = addresses.find(({ family }) => family === 4) ?? addresses[0];
    return chosen?.address ?? LOOPBACK;
  } catch {
    return LOOPBACK; // A system without a hosts file.
  }
}

const LOOPBACK = "127.0.0.1";
/** sockaddr_un of Linux, without the zero at the end. */
const SOCKET_PATH_BYTES_MAX = 107;

/**
 * Removes a unix socket that a killed process left behind. Sockets in use and files that are none
 * stay.
 *
 * @returns why nothing can listen there; undefined if it can be tried
 */
export async function clearSocketPath(path: string): Promise<string | undefined> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) return "name too long for a socket";
  try {
    if (!lstatSync(path).isSocket()) return "there is a file that is not a socket";
    if (await isListening(path)) return "address already in use";
    unlinkSync(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") return message;
  }
  return undefined;
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    // Refused: nobody is there. Else, as with a full backlog or without permission, somebody may
    // be.
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}
