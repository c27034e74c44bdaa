/** Part of a response for many exchanges: the first to frame it caches the result here. */
export class ChunkBody {
  /** Events that leave together with `bytes`, before it; each is a chunk of its own. */
  readonly earlier: readonly Uint8Array[];
  readonly bytes: Uint8Array;
  /** Bytes of all its chunks, without framing. */
  readonly length: number;
  /** Framed as chunks, by the uws frontend. */
  plain: Buffer | undefined;
  framed: Buffer | undefined;
  framedLast: Buffer | undefined;
  /** Framed by the node frontend: both may serve one event. */
  chunked: Buffer | undefined;
  /** Where a second part of `framed` begins, for an implementation that needs two. */
  framedSplit: number | undefined;

  constructor(bytes: Uint8Array, earlier: readonly Uint8Array[] = []) {
    this.bytes = bytes;
    this.earlier = earlier;
    this.length = earlier.reduce((sum, { length }) => sum + length, bytes.length);
  }

  /** All of it without framing, in place where it is one chunk. */
  get whole(): Uint8Array {
    return this.earlier.length === 0 ? this.bytes : Buffer.concat([...this.earlier, this.bytes]);
  }

  /** A copy that outlives the record in a ring. */
  copy(): ChunkBody {
    return new ChunkBody(Buffer.from(this.bytes), this.earlier);
  }
}
