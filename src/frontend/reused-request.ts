import type { FramedRequest } from "../messages/requests.js";
import { Method } from "../v2/request.js";

/**
 * The one request object of a frontend: filled for each request and given to its gateway, so that
 * none is allocated. Once an exchange is answered, even within the gateway's call, it may hold the
 * next request already.
 */
export class ReusedRequest implements FramedRequest {
  method: Method = Method.other;
  path = "";
  query = "";
  contentType = "";
  body: Uint8Array | undefined;
  isBodyTooLarge = false;

  /** @returns this, as a request without a body */
  begin(method: Method, path: string, query: string): this {
    this.method = method;
    this.path = path;
    this.query = query;
    this.contentType = "";
    this.body = undefined;
    this.isBodyTooLarge = false;
    return this;
  }
}
