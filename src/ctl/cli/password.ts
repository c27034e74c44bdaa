import { readSync } from "node:fs";
import type { ReadStream } from "node:tty";
import { out } from "../output/terminal.js";

const CTRL_C = 3;
const CTRL_D = 4;
const BACKSPACE = [8, 127];
const LINE_ENDS = [10, 13];

/**
 * Asks on the terminal without showing what is typed. Without a terminal the first line of standard input is
 * it, which scripts rely on.
 */
export async function askPassword(prompt: string): Promise<string> {
  const { stdin } = process;
  // Before the prompt: what is typed as soon as it shows must not be echoed.
  if (stdin.isTTY) stdin.setRawMode(true);
  out(prompt);
  const password = stdin.isTTY ? await typed(stdin) : firstLine();
  out("\n");
  return password;
}

function firstLine(): string {
  const bytes: number[] = [];
  const byte = new Uint8Array(1);
  // Byte by byte: what follows the line belongs to others.
  while (readSync(0, byte) === 1 && byte[0] !== 10) bytes.push(byte[0] as number);
  return Buffer.from(bytes).toString("utf8").replace(/\r$/, "");
}

/** In raw mode the terminal echoes nothing, and Ctrl-C is a byte like any other. */
function typed(input: ReadStream): Promise<string> {
  return new Promise((resolve) => {
    const bytes: number[] = [];
    input.resume();
    input.on("data", (chunk: Buffer) => {
      for (const byte of chunk) {
        if (byte === CTRL_C) {
          input.setRawMode(false);
          out("\n");
          process.kill(process.pid, "SIGINT");
          return;
        }
        if (LINE_ENDS.includes(byte) || byte === CTRL_D) {
          input.setRawMode(false);
          input.pause();
          input.removeAllListeners("data");
          resolve(Buffer.from(bytes).toString("utf8"));
          return;
        }
        if (BACKSPACE.includes(byte)) popCharacter(bytes);
        else bytes.push(byte);
      }
    });
  });
}

/** Continuation bytes of UTF-8 go with the byte that leads them. */
function popCharacter(bytes: number[]): void {
  while (((bytes.pop() ?? 0) & 0xc0) === 0x80);
}
