/** An invalid command line: a message and exit code 2, as from the server. */
function refuse(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

/** A number above 0, or 0 where that means "none". */
export function number(option: string, text: string): number {
  const value = Number(text);
  if (text === "" || !Number.isFinite(value) || value < 0) {
    refuse(`--${option} wants a number, not "${text}"`);
  }
  return value;
}

/** "a,b" -> ["a", "b"]. */
export function list(option: string, text: string): string[] {
  const items = text.split(",").filter((item) => item !== "");
  if (items.length === 0) refuse(`--${option} wants a list separated by commas`);
  return items;
}

export function oneOf<const T extends string>(
  option: string,
  text: string,
  choices: readonly T[],
): T {
  const choice = choices.find((one) => one === text);
  return choice ?? refuse(`--${option} wants one of ${choices.join(", ")}, not "${text}"`);
}
