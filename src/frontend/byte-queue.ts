/** Bytes received and not yet consumed, contiguous in memory. */
export class ByteQueue {
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  /**
   * Everything in the queue. The view stays valid and unchanged after `skip` and `append`, as
   * consumed memory is never reused; the reader may write to it.
   */
  get view(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  /** @param chunk owned by the queue from now on */
  append(chunk: Buffer): void {
    if (this.#start === this.#end) {
      this.#bytes = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      return;
    }
    const length = this.length + chunk.length;
    if (this.#end + chunk.length > this.#bytes.length) {
      // Twice the size, or headers that arrive byte by byte would be copied for each byte.
      const grown = Buffer.allocUnsafeSlow(2 * length);
      this.#bytes.copy(grown, 0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
      this.#bytes = grown;
    }
    chunk.copy(this.#bytes, this.#end);
    this.#end += chunk.length;
  }

  skip(bytes: number): void {
    this.#start += bytes;
  }

  clear(): void {
    this.#bytes = Buffer.alloc(0);
    this.#start = 0;
    this.#end = 0;
  }
}
