import type { PeerCertificate } from "node:tls";

/**
 * Certificate revocation lists, as etcd reads them (pkg/transport/listener_tls.go): a certificate
 * is revoked if the list has its serial number. Whose list it is, and until when it is valid, is
 * not looked at: OpenSSL does, and would refuse all clients from the list's last day on.
 *
 * @param bytes PEM or DER
 * @returns undefined if it is not such a list
 */
export async function parseRevoked(bytes: Buffer): Promise<ReadonlySet<string> | undefined> {
  const { X509Crl } = await import("@peculiar/x509");
  try {
    const text = bytes.toString("latin1");
    const list = new X509Crl(text.includes("-----BEGIN ") ? text : new Uint8Array(bytes));
    return new Set(list.entries.map(({ serialNumber }) => normal(serialNumber)));
  } catch {
    return undefined;
  }
}

/**
 * The serial number of the first revoked certificate of a chain, without the root, which is trusted
 * by itself.
 */
export function revokedIn(
  revoked: ReadonlySet<string>,
  leaf: PeerCertificateChain,
): string | undefined {
  let one: PeerCertificateChain | undefined = leaf;
  for (let isLeaf = true; one?.serialNumber !== undefined; isLeaf = false) {
    const next: PeerCertificateChain | undefined = one.issuerCertificate;
    if (!isLeaf && (next === one || next === undefined)) return undefined;
    if (revoked.has(normal(one.serialNumber))) return one.serialNumber.toLowerCase();
    if (next === one) return undefined;
    one = next;
  }
  return undefined;
}

/** As `getPeerCertificate(true)` returns it: a root is its own issuer. */
export type PeerCertificateChain = Pick<PeerCertificate, "serialNumber"> & {
  readonly issuerCertificate?: PeerCertificateChain;
};

/** Without leading zeros. */
function normal(serial: string): string {
  return serial.toLowerCase().replace(/^0+(?=.)/, "");
}
