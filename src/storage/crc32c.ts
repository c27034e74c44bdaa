import { crc32c as native } from "@node-rs/crc32";

/**
 * CRC-32C (Castagnoli) of `bytes`, continued from `seed`: `crc32c(b, crc32c(a, 0))` is that of a
 * and b together. Takes views of shared memory too. About 0.15 microseconds a call plus 0.2 a KiB.
 */
export const crc32c: (bytes: Uint8Array, seed: number) => number = native;
