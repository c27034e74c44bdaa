import { createSecureContext } from "node:tls";
import type { TlsOptions } from "../../client/options.js";
import { systemReason } from "../../lib/errors.js";
import { readTextFile, TextFileError } from "../../process/text-file.js";
import { failure } from "../output/exit.js";

const FILE_BYTES_MAX = 2 ** 20;
/** Where Go has other words than libuv. */
const REASONS: Readonly<Record<string, string>> = {
  ENAMETOOLONG: "file name too long",
  ELOOP: "too many levels of symbolic links",
};

/**
 * Reads the files of the TLS flags; an empty name means none.
 *
 * @throws Failure with etcdctl's text
 */
export function readTlsFiles(caFile: string, certFile: string, keyFile: string): TlsOptions {
  if ((certFile === "") !== (keyFile === "")) {
    throw failure(`KeyFile and CertFile must both be present[key: ${keyFile}, cert: ${certFile}]`);
  }
  return {
    ...(certFile === "" ? {} : readPair(certFile, keyFile)),
    ...(caFile === "" ? {} : { ca: read(caFile) }),
  };
}

function readPair(certFile: string, keyFile: string): TlsOptions {
  const cert = read(certFile);
  const key = read(keyFile);
  for (const [pem, what] of [
    [cert, "certificate"],
    [key, "key"],
  ] as const) {
    if (!pem.includes("-----BEGIN ")) {
      throw failure(`tls: failed to find any PEM data in ${what} input`);
    }
  }
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const { message } = error as Error;
    throw failure(
      /mismatch/.test(message)
        ? "tls: private key does not match public key"
        : `cannot use ${certFile} and ${keyFile}: ${message}`,
    );
  }
  return { cert, key };
}

function read(file: string): string {
  try {
    return readTextFile(file, FILE_BYTES_MAX);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    const isOpen = code === "EISDIR" || error instanceof TextFileError;
    const why = REASONS[code] ?? systemReason(error);
    throw failure(`${isOpen ? "read" : "open"} ${file}: ${why}`);
  }
}
