import { main } from "#ringd/ctl/main.js";
import { COMPAT_VERSION } from "#ringd/v2/status.js";

/** The process of Host in run.ts. Captures what command lines print. */

interface Order {
  readonly id: number;
  readonly program: string;
  readonly words: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

process.setMaxListeners(0);
process.on("message", async ({ id, program, words, env }: Order) => {
  const written = { out: "", err: "" };
  const restore = [
    capture(process.stdout, (text) => {
      written.out += text;
    }),
    capture(process.stderr, (text) => {
      written.err += text;
    }),
  ];
  const code = await main({ program, words, env, version: async () => COMPAT_VERSION });
  for (const undo of restore) undo();
  process.send?.({ id, outcome: { code, ...written } });
});

function capture(stream: NodeJS.WriteStream, take: (text: string) => void): () => void {
  const { write } = stream;
  stream.write = (chunk: string | Uint8Array) => {
    take(String(chunk));
    return true;
  };
  return () => {
    stream.write = write;
  };
}
