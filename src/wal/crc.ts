import { crc32c as native } from "@node-rs/crc32";

/** CRC-32C (Castagnoli) of `bytes`, continued from `seed`. Pure; native code is 20 times faster. */
export function crc32c(bytes: Uint8Array, seed: number): number {
  return native(bytes, seed);
}
