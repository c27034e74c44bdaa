import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Names that processes resolve by a table of the test's own, as if by DNS, below ".test". */
export class TestHostNames {
  readonly #dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  readonly #file = join(this.#dir, "hosts.json");
  readonly #addresses = new Map<string, string>();

  constructor() {
    this.#write();
  }

  /** From now on each lookup of the name finds this address. */
  set(name: string, address: string): void {
    this.#addresses.set(name, address);
    this.#write();
  }

  /** NODE_OPTIONS of a process that looks names up here, in all of its threads. */
  get nodeOptions(): string {
    const code = `
      import dns from "node:dns"; import { readFileSync } from "node:fs";
      import { syncBuiltinESMExports } from "node:module";
      const known = (name) => JSON.parse(readFileSync(${JSON.stringify(this.#file)}, "utf8"))[name];
      const unknown = (name) => Object.assign(new Error("getaddrinfo ENOTFOUND " + name), {
        code: "ENOTFOUND", errno: -3008, syscall: "getaddrinfo", hostname: name });
      const system = dns.lookup, systemPromise = dns.promises.lookup;
      dns.lookup = (name, options, done) => {
        if (!String(name).endsWith(".test")) return system(name, options, done);
        const address = known(name);
        setImmediate(() => {
          if (address === undefined) done(unknown(name));
          else if (options?.all) done(null, [{ address, family: 4 }]);
          else done(null, address, 4);
        });
      };
      dns.promises.lookup = async (name, options) => {
        if (!String(name).endsWith(".test")) return systemPromise(name, options);
        const address = known(name);
        if (address === undefined) throw unknown(name);
        return options?.all ? [{ address, family: 4 }] : { address, family: 4 };
      };
      syncBuiltinESMExports();`;
    return `--import=data:text/javascript;base64,${Buffer.from(code).toString("base64")}`;
  }

  close(): void {
    rmSync(this.#dir, { recursive: true });
  }

  #write(): void {
    const next = `${this.#file}.next`;
    writeFileSync(next, JSON.stringify(Object.fromEntries(this.#addresses)));
    renameSync(next, this.#file);
  }
}
