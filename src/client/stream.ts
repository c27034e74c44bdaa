import type { Cluster } from "./cluster.js";
import { errorOf } from "./json-api.js";
import { headerNumber, keysRequest, readEvent } from "./keys.js";
import type { KeysAnswer } from "./responses.js";

/** A change as a stream delivers it. */
export type StreamEvent = Pick<KeysAnswer, "action" | "node" | "prevNode">;

/**
 * The changes from now on over one connection: much faster than a long poll for each. Unlike a
 * watch it begins at no given index and is not resumed: it ends with its connection, or when the
 * server drops a client that is too slow.
 */
export interface EventStream {
  /** Of the store when it began: all later changes are delivered, some of them twice. */
  readonly index: number;
  /** @throws ConnectionLostError, or the signal's reason */
  readonly events: AsyncGenerator<StreamEvent, void, undefined>;
}

/** @throws UnavailableError, EtcdError, or the signal's reason */
export async function openStream(
  cluster: Cluster,
  key: string,
  signal: AbortSignal,
): Promise<EventStream> {
  const query = { wait: true, stream: true, recursive: true };
  const request = { ...keysRequest({ method: "GET", key, query }), isWatch: true };
  const response = await cluster.poll(request, undefined, [signal]);
  const { status, headers, endpoint } = response;
  if (status !== 200) throw errorOf({ status, headers, endpoint, body: await response.text() });
  const events = async function* () {
    let rest = "";
    for await (const piece of response.pieces()) {
      // Each event is one line.
      const lines = (rest + piece).split("\n");
      rest = lines.pop() ?? "";
      for (const body of lines) {
        if (body.trim() !== "") yield readEvent({ status, headers, endpoint, body });
      }
    }
  };
  return { index: headerNumber(headers, "x-etcd-index"), events: events() };
}
