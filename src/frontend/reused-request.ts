import type { FramedRequest } from "../messages/requests.js";
import { Method } from "../v2/request.js";

/**
 * A frontend's only request object, refilled for each request to save allocations. Once an exchange
 * has its response, even within the gateway's call, it may hold the next request.
 */
export class ReusedRequest implements FramedRequest {
  method: Method = Method.other;
  path = "";
  query = "";
  contentType = "";
  authorization = "";
  commonName = "";
  remote = "";
  body: Uint8Array | undefined;
  isBodyTooLarge = false;

  /** @returns this, without a body */
  begin(method: Method, path: string, query: string, authorization = ""): this {
    this.method = method;
    this.path = path;
    this.query = query;
    this.contentType = "";
    this.authorization = authorization;
    this.commonName = "";
    this.remote = "";
    this.body = undefined;
    this.isBodyTooLarge = false;
    return this;
  }
}
