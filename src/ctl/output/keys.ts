import { goJsonString } from "../../lib/go-text.js";
import type { KeyAnswer, KeyNode } from "../commands/key-request.js";
import { err, out } from "./terminal.js";

/** Prints what the key space answered. A format that does not exist is complained about, no more. */
export function printAnswer(answer: KeyAnswer, format: string): void {
  const { action, node, prevNode } = answer;
  switch (format) {
    case "simple":
      out(
        action === "delete"
          ? `PrevNode.Value: ${prevNode?.value ?? ""}\n`
          : `${node.value ?? ""}\n`,
      );
      return;
    case "extended": {
      const lines = [
        `Key: ${node.key ?? ""}`,
        `Created-Index: ${node.createdIndex ?? 0}`,
        `Modified-Index: ${node.modifiedIndex ?? 0}`,
        ...(prevNode === undefined ? [] : [`PrevNode.Value: ${prevNode.value ?? ""}`]),
        `TTL: ${node.ttl ?? 0}`,
        `Index: ${answer.index}`,
        ...(action === "delete" ? [] : ["", node.value ?? ""]),
      ];
      out(`${lines.join("\n")}\n`);
      return;
    }
    case "json":
      out(
        `{"action":${goJsonString(action)},"node":${nodeJson(node)},"prevNode":${nodeJson(prevNode)}}\n`,
      );
      return;
    default:
      err(`Unsupported output format: ${format}\n`);
  }
}

/** Every field in etcdctl's order; those it always shows are there even when the server left them out. */
function nodeJson(node: KeyNode | undefined): string {
  if (node === undefined) return "null";
  const { key = "", dir, value = "", nodes, createdIndex = 0, modifiedIndex = 0 } = node;
  const fields = [
    `"key":${goJsonString(key)}`,
    ...(dir ? ['"dir":true'] : []),
    `"value":${goJsonString(value)}`,
    `"nodes":${nodes === undefined ? "null" : `[${nodes.map(nodeJson).join(",")}]`}`,
    `"createdIndex":${createdIndex}`,
    `"modifiedIndex":${modifiedIndex}`,
    ...(node.expiration === undefined ? [] : [`"expiration":${goJsonString(node.expiration)}`]),
    ...(node.ttl ? [`"ttl":${node.ttl}`] : []),
  ];
  return `{${fields.join(",")}}`;
}
