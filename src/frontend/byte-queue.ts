/** Bytes received and not yet consumed, in one piece of memory. */
export class ByteQueue {
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  /**
   * Everything in the queue. The view stays valid, and nothing but its reader writes to it, after
   * `skip` and `append` too: consumed memory is never used again.
   */
  get view(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  /** @param chunk owned by the queue from here on */
  append(chunk: Buffer): void {
    if (this.#start === this.#end) {
      this.#bytes = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      return;
    }
    const length = this.length + chunk.length;
    if (this.#end + chunk.length > this.#bytes.length) {
      // Twice the size, or a head that comes byte by byte would be copied for each of them.
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
