import { once } from "node:events";
import { connect } from "node:net";
import { AnswerStream } from "../../support/http.js";

/** Longer than etcd's own limit for a write. */
const ANSWER_MS_MAX = 10_000;

/**
 * Sends bytes on a new connection. @returns once the headers have arrived, or the connection has
 * ended
 */
export async function exchange(
  port: number,
  bytes: Buffer,
  isHead: boolean,
): Promise<AnswerStream | undefined> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.setNoDelay(true);
  const stream = new AnswerStream(socket, isHead);
  const timer = setTimeout(() => socket.destroy(), ANSWER_MS_MAX);
  socket.write(bytes);
  const isHeaded = await stream.headed.then(
    () => true,
    () => false,
  );
  clearTimeout(timer);
  return isHeaded ? stream : undefined;
}

/** Resolves when the response is complete, or timed out. */
export async function untilEnded(stream: AnswerStream): Promise<void> {
  const timer = setTimeout(() => stream.close(), ANSWER_MS_MAX);
  await stream.ended;
  clearTimeout(timer);
}
