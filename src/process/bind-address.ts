import { lookup } from "node:dns/promises";
import { lstatSync, unlinkSync } from "node:fs";
import { connect } from "node:net";

/**
 * The address to bind for `localhost`, the only name allowed in a listen URL: as in etcd a single
 * address, IPv4 if there is one. Left to them, each HTTP library would choose differently.
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
/** Size of sun_path in Linux's sockaddr_un, less the final zero. */
const SOCKET_PATH_BYTES_MAX = 107;

/**
 * Removes a stale unix socket of a killed process. Keeps sockets in use and all other files.
 *
 * @returns why the path cannot be listened on; undefined if it is free
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
    // ECONNREFUSED: no listener. Other errors (full backlog, no permission) leave it open.
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}
