import { createSecureContext, type SecureContext, type Server, type TlsOptions } from "node:tls";

/**
 * Gives a server the certificates and rules for its new connections. Node's `setSecureContext` does
 * not pass `allowPartialTrustChain` on, without which an intermediate CA cannot be the trusted one;
 * the place where it keeps the context has no public name.
 */
export function setServerContext(server: Server, options: TlsOptions): void {
  server.setSecureContext(options);
  const kept = server as unknown as { _sharedCreds?: SecureContext };
  // Without client certificates there is no chain to verify, and sessions are resumed by an id
  // that only Node's own context has.
  if (options.requestCert !== true || kept._sharedCreds === undefined) return;
  kept._sharedCreds = createSecureContext(options);
}
