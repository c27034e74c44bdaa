import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Why tests with certificates are skipped; false where they run. */
export const NO_OPENSSL: string | false =
  spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";

export interface Issued {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

export interface Wish {
  readonly cn?: string;
  /** As in OpenSSL's subjectAltName; 127.0.0.1 and localhost by default, "" for none. */
  readonly names?: string;
  readonly usage?: string;
  /** Days from now. */
  readonly fromDays?: number;
  readonly toDays?: number;
  readonly rsa?: boolean;
  /** An intermediate CA. */
  readonly isCa?: boolean;
  /** Issued by this one instead of the CA itself. */
  readonly by?: Issued;
}

const LOOPBACK_NAMES = "IP:127.0.0.1,DNS:localhost";
const DAY_MS = 24 * 60 * 60 * 1000;

/** OpenSSL's form of a time: YYMMDDHHMMSSZ. */
function timeOf(days: number): string {
  const text = new Date(Date.now() + days * DAY_MS).toISOString();
  return `${text.slice(2, 19).replaceAll(/[-:T]/g, "")}Z`;
}

/** A CA made by openssl, with its files in a directory of its own. */
export class Authority {
  readonly dir = mkdtempSync(join(tmpdir(), "ringd-test-ca-"));
  readonly caFile = join(this.dir, "ca.pem");
  readonly #keyFile = join(this.dir, "ca.key");
  readonly #configFile = join(this.dir, "ca.cnf");
  #issued = 0;

  constructor(name = "test CA") {
    this.#openssl(
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-keyout", this.#keyFile, "-out", this.caFile, "-days", "3650", "-subj", `/CN=${name}`],
      ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
    );
    writeFileSync(join(this.dir, "index.txt"), "");
    writeFileSync(join(this.dir, "serial"), "1001\n");
    writeFileSync(join(this.dir, "crlnumber"), "01\n");
    writeFileSync(
      this.#configFile,
      `[ca]\ndefault_ca=here\n[here]\ndir=${this.dir}\ndatabase=$dir/index.txt\n` +
        "serial=$dir/serial\ncrlnumber=$dir/crlnumber\nnew_certs_dir=$dir\ndefault_md=sha256\n" +
        `default_crl_days=30\nunique_subject=no\ncertificate=${this.caFile}\n` +
        `private_key=${this.#keyFile}\npolicy=any\n[any]\ncommonName=optional\n`,
    );
  }

  get ca(): string {
    return readFileSync(this.caFile, "utf8");
  }

  issue(wish: Wish = {}): Issued {
    const { cn = "member", names = LOOPBACK_NAMES, usage = "serverAuth,clientAuth" } = wish;
    const base = join(this.dir, `issued-${++this.#issued}`);
    const certFile = `${base}.pem`;
    const keyFile = `${base}.key`;
    const kind = wish.rsa ? ["rsa:2048"] : ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    this.#openssl(
      ...["req", "-newkey", ...kind, "-nodes", "-keyout", keyFile, "-out", `${base}.csr`],
      ...["-subj", cn === "" ? "/" : `/CN=${cn}`],
    );
    writeFileSync(
      `${base}.ext`,
      wish.isCa
        ? "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
        : `basicConstraints=critical,CA:FALSE\nextendedKeyUsage=${usage}\n` +
            (names === "" ? "" : `subjectAltName=${names}\n`),
    );
    this.#openssl(
      ...["ca", "-config", this.#configFile, "-batch", "-notext"],
      ...["-in", `${base}.csr`, "-out", certFile, "-extfile", `${base}.ext`],
      ...["-startdate", timeOf(wish.fromDays ?? -1), "-enddate", timeOf(wish.toDays ?? 365)],
      ...(wish.by === undefined ? [] : ["-cert", wish.by.certFile, "-keyfile", wish.by.keyFile]),
    );
    return {
      certFile,
      keyFile,
      cert: readFileSync(certFile, "utf8"),
      key: readFileSync(keyFile, "utf8"),
    };
  }

  /** @returns the file of the list of all certificates revoked so far */
  revoke(...certificates: readonly Issued[]): string {
    for (const { certFile } of certificates) {
      this.#openssl("ca", "-config", this.#configFile, "-revoke", certFile);
    }
    const file = join(this.dir, "crl.pem");
    this.#openssl("ca", "-config", this.#configFile, "-gencrl", "-out", file);
    return file;
  }

  /** A new file of this CA's directory. */
  write(name: string, text: string): string {
    const file = join(this.dir, name);
    writeFileSync(file, text);
    return file;
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }

  #openssl(...argv: readonly string[]): void {
    execFileSync("openssl", argv, { stdio: ["ignore", "ignore", "pipe"] });
  }
}
