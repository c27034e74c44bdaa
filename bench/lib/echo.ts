import uws, { type HttpResponse } from "uWebSockets.js";
import { VALUE } from "./workload.js";

/**
 * Responds to every request with constants of the size and shape of a member's responses: the limit
 * of uWebSockets.js, one thread and the kernel on this machine. Run as `node echo.js PORT`.
 */
const node = (index: number) =>
  `{"key":"/bench/key-0500","value":"${VALUE}","modifiedIndex":${index},"createdIndex":${index}}`;
const GET_BODY = `{"action":"get","node":${node(123456)}}\n`;
const PUT_BODY = `{"action":"set","node":${node(123456)},"prevNode":${node(123455)}}\n`;

function answer(response: HttpResponse, body: string): void {
  response
    .writeHeader("Content-Type", "application/json")
    .writeHeader("X-Etcd-Cluster-Id", "cdf818194e3a8c32")
    .writeHeader("X-Etcd-Index", "123456")
    .writeHeader("X-Raft-Index", "234567")
    .writeHeader("X-Raft-Term", "2")
    .end(body);
}

const port = Number(process.argv[2]);
uws
  .App()
  .get("/health", (response) => {
    response.end('{"health":"true"}');
  })
  .get("/*", (response) => answer(response, GET_BODY))
  .put("/*", (response) => {
    response.onAborted(() => {});
    response.onData((_chunk, isLast) => {
      if (isLast) response.cork(() => answer(response, PUT_BODY));
    });
  })
  .listen("127.0.0.1", port, (socket) => {
    if (socket === false) process.exit(1);
  });
process.on("SIGTERM", () => process.exit(0));
