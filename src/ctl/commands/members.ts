import type { Member } from "../../client/responses.js";
import { goQuote } from "../../go/text.js";
import { parseUrlList } from "../../go/url-list.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { EXIT, Failure, failure } from "../output/exit.js";
import { err, out } from "../output/terminal.js";
import { callApi } from "./json-call.js";

export async function memberList(context: Context): Promise<number> {
  if (context.args.length > 0) throw failure("No arguments accepted");
  const session = await Session.open(context);
  const members = await listMembers(session);
  const leader = await callApi(session, {
    method: "GET",
    path: "/v2/members/leader",
    expected: [200],
  }).catch((error: unknown) => {
    if (!(error instanceof Failure)) throw error;
    throw failure(`Failed to get leader:  ${error.message}`);
  });
  const { id: leaderId } = leader.json as Member;
  for (const { id, name, peerURLs, clientURLs } of members) {
    out(
      name === ""
        ? `${id}[unstarted]: peerURLs=${peerURLs.join(",")}\n`
        : `${id}: name=${name} peerURLs=${peerURLs.join(",")} clientURLs=${clientURLs.join(",")} isLeader=${id === leaderId}\n`,
    );
  }
  return EXIT.ok;
}

export async function memberAdd(context: Context): Promise<number> {
  const [name = "", url = ""] = context.args;
  if (context.args.length !== 2) throw failure("Provide a name and a single member peerURL");
  const session = await Session.open(context);
  const peerURLs = readUrls([url]);
  const added = await callApi(session, {
    method: "POST",
    path: "/v2/members",
    body: { peerURLs },
    expected: [201, 409],
  });
  throwConflict(added);
  const { id } = added.json as Member;
  out(`Added member named ${name} with ID ${id} to cluster\n`);
  const members = await listMembers(session);
  const cluster = members.flatMap((member) =>
    member.peerURLs.map((peerURL) => `${member.id === id ? name : member.name}=${peerURL}`),
  );
  out(
    `\nETCD_NAME=${goQuote(name)}\nETCD_INITIAL_CLUSTER=${goQuote(cluster.join(","))}\nETCD_INITIAL_CLUSTER_STATE="existing"\n`,
  );
  return EXIT.ok;
}

export async function memberRemove(context: Context): Promise<number> {
  const [id = ""] = context.args;
  if (context.args.length !== 1) throw failure("Provide a single member ID");
  const session = await Session.open(context);
  const members = await listMembers(session).catch((error: unknown) => {
    if (!(error instanceof Failure)) throw error;
    throw failure(`Error while verifying ID against known members: ${error.message}`);
  });
  for (const member of members) {
    if (member.name !== id) continue;
    err(
      `Found a member named ${member.name}; if this is correct, please use its ID, eg:\n\tetcdctl member remove ${member.id}\nFor more details, read the documentation at https://github.com/etcd-io/etcd/blob/master/Documentation/runtime-configuration.md#remove-a-member\n\n`,
    );
  }
  if (!members.some((member) => member.id === id)) {
    throw failure(`Couldn't find a member in the cluster with an ID of ${id}.`);
  }
  await callApi(session, {
    method: "DELETE",
    path: `/v2/members/${id}`,
    expected: [204, 410],
  }).catch((error: unknown) => {
    if (!(error instanceof Failure)) throw error;
    throw failure(`Received an error trying to remove member ${id}: ${error.message}`);
  });
  out(`Removed member ${id} from cluster\n`);
  return EXIT.ok;
}

export async function memberUpdate(context: Context): Promise<number> {
  const [id = "", urls = ""] = context.args;
  if (context.args.length !== 2) {
    throw failure(
      "Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)",
    );
  }
  const session = await Session.open(context);
  const peerURLs = readUrls(urls.split(","));
  const response = await callApi(session, {
    method: "PUT",
    path: `/v2/members/${id}`,
    body: { peerURLs },
    expected: [204, 404, 409],
  });
  throwConflict(response);
  out(`Updated member with ID ${id} in cluster\n`);
  return EXIT.ok;
}

/** @throws Failure with exit code 1 */
export async function listMembers(session: Session): Promise<Member[]> {
  const { json } = await callApi(session, {
    method: "GET",
    path: "/v2/members",
    expected: [200],
  });
  return toMembers(json);
}

export function toMembers(json: unknown): Member[] {
  const { members } = json as { readonly members?: readonly Partial<Member>[] | null };
  return (members ?? []).map(({ id = "", name = "", peerURLs, clientURLs }) => ({
    id,
    name,
    peerURLs: peerURLs ?? [],
    clientURLs: clientURLs ?? [],
  }));
}

function readUrls(texts: readonly string[]): readonly string[] {
  const list = parseUrlList(texts);
  if (list.kind === "invalid") throw failure(list.message);
  return list.urls;
}

function throwConflict({
  status,
  json,
}: {
  readonly status: number;
  readonly json: unknown;
}): void {
  if (status < 400) return;
  throw failure((json as { readonly message?: string } | undefined)?.message ?? "");
}
