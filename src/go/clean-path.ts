/**
 * Go's path.Clean of an absolute path, but for a slash at the end, which stays: without `.`, `..`
 * and empty parts, and with one slash at its beginning.
 */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  const clean = `/${parts.join("/")}`;
  return path.endsWith("/") && clean !== "/" ? `${clean}/` : clean;
}
