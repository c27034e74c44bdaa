import { goJsonString } from "../../go/text.js";
import { err, out } from "./terminal.js";

/** A node as the server sent it: fields that etcdctl prints may be missing. */
export interface KeyNode {
  readonly key?: string;
  readonly dir?: boolean;
  readonly value?: string;
  readonly nodes?: readonly KeyNode[];
  readonly createdIndex?: number;
  readonly modifiedIndex?: number;
  readonly expiration?: string;
  readonly ttl?: number;
}

export interface KeyResponse {
  readonly action: string;
  readonly node: KeyNode;
  readonly prevNode?: KeyNode;
  /** Of the store; text, because it is only printed. */
  readonly index: string;
}

/** Prints a response of the key space. As in etcdctl, an unknown format is not a failure. */
export function printResponse(response: KeyResponse, format: string): void {
  const { action, node, prevNode } = response;
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
        `Index: ${response.index}`,
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

/** Fields in etcdctl's order; those it always prints get a default if the server omits them. */
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
