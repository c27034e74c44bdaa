/** User name and password of an Authorization header. Latin1 bytes. */
export interface BasicCredentials {
  readonly user: string;
  readonly password: string;
}

const PREFIX = "basic ";
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * As Go's http.Request.BasicAuth: the scheme in any case, one blank, padded base64.
 *
 * @returns undefined for another scheme and malformed ones
 */
export function readBasic(header: string): BasicCredentials | undefined {
  if (header.slice(0, PREFIX.length).toLowerCase() !== PREFIX) return undefined;
  const coded = header.slice(PREFIX.length);
  if (!BASE64.test(coded)) return undefined;
  const bytes = Buffer.from(coded, "base64");
  const colon = bytes.indexOf(":");
  if (colon < 0) return undefined;
  // Not parts of one string: who keeps the name would keep the password, too.
  return {
    user: bytes.toString("latin1", 0, colon),
    password: bytes.toString("latin1", colon + 1),
  };
}
