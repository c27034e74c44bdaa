import type { Context } from "./spec.js";
export async function top(_: Context): Promise<number> {
  return 1;
}
