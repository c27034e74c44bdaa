import { AUTH_PREFIX, KEYS_PREFIX, PERMANENT } from "../../store/node.js";
import type { Store } from "../../store/store.js";

/** What a store holds, for the summaries of commands that write one. */

interface Auth {
  readonly isEnabled: boolean;
  readonly users: readonly string[];
  readonly roles: readonly string[];
}

/** etcdserver/api/v2auth/auth.go. */
export function authOf(store: Store): Auth {
  const names = (directory: string) => {
    const found: string[] = [];
    const prefix = `${AUTH_PREFIX}/${directory}/`;
    const cursor = store.view().cursor(prefix);
    for (let node = cursor.next(); node?.path.startsWith(prefix); node = cursor.next()) {
      found.push(node.path.slice(prefix.length));
    }
    return found;
  };
  return {
    isEnabled: store.get(`${AUTH_PREFIX}/enabled`)?.value === "true",
    users: names("users"),
    roles: names("roles"),
  };
}

/** Rows of a summary: label and text. */
export function storeRows(store: Store): (readonly [string, string])[] {
  const counts = countsOf(store);
  const { isEnabled, users, roles } = authOf(store);
  const [first] = store.events;
  const history =
    first === undefined ? "" : ` (indexes ${first.index} to ${store.index}, for waitIndex)`;
  return [
    ["keys", `${counts.files} (${counts.hidden} hidden)`],
    ["directories", `${counts.directories}`],
    ["bytes", `${counts.bytes} of keys and values`],
    ["TTLs", `${counts.expiring}`],
    ["events", `${store.events.length}${history}`],
    [
      "users",
      `${users.length}, ${counted(roles.length, "role")}; authentication is ${isEnabled ? "on" : "off"}`,
    ],
  ];
}

function countsOf(store: Store) {
  const counts = { files: 0, directories: 0, hidden: 0, bytes: 0, expiring: 0 };
  const prefix = `${KEYS_PREFIX}/`;
  const cursor = store.view().cursor(prefix);
  for (let node = cursor.next(); node?.path.startsWith(prefix); node = cursor.next()) {
    if (node.isDirectory) counts.directories++;
    else counts.files++;
    if (!node.isDirectory && node.path.includes("/_")) counts.hidden++;
    if (node.expirationMs !== PERMANENT) counts.expiring++;
    counts.bytes += node.path.length - KEYS_PREFIX.length + node.value.length;
  }
  return counts;
}

export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
