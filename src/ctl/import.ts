import type { Context } from "./spec.js";
export async function importSnapshot(_: Context): Promise<number> {
  return 1;
}
