import { readSync } from "node:fs";
import type { ReadStream } from "node:tty";
import { out } from "../output/terminal.js";

const CTRL_C = 3;
const CTRL_D = 4;
const BACKSPACE = [8, 127];
const LINE_ENDS = [10, 13];

/**
 * Prompts on the terminal, without echo. Without a terminal it reads the first line of standard
 * input, which scripts rely on.
 */
export async function promptPassword(prompt: string): Promise<string> {
  const { stdin } = process;
  // Before the prompt: input typed as soon as it shows must not be echoed.
  if (stdin.isTTY) stdin.setRawMode(true);
  out(prompt);
  const password = stdin.isTTY ? await typed(stdin) : firstLine();
  out("\n");
  return password;
}

function firstLine(): string {
  const bytes: number[] = [];
  const byte = new Uint8Array(1);
  // Byte by byte: a later reader gets the rest of standard input.
  while (readSync(0, byte) === 1 && byte[0] !== 10) bytes.push(byte[0] as number);
  return Buffer.from(bytes).toString("utf8").replace(/\r$/, "");
}

/** In raw mode the terminal does not echo, and Ctrl-C arrives as a byte. */
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

/** Removes the continuation bytes of a UTF-8 character with its first byte. */
function popCharacter(bytes: number[]): void {
  while (((bytes.pop() ?? 0) & 0xc0) === 0x80);
}
