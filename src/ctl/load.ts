import type { Context } from "./spec.js";
export async function load(_: Context): Promise<number> {
  return 1;
}
