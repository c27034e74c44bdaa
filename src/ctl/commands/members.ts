import type { Member } from "../../client/responses.js";
import { parseId } from "../../cluster/ids.js";
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
  for (const { id, name, peerURLs, clientURLs, isLearner = false } of members) {
    const learner = isLearner ? " isLearner=true" : "";
    out(
      name === ""
        ? `${id}[unstarted]: peerURLs=${peerURLs.join(",")}${learner}\n`
        : `${id}: name=${name} peerURLs=${peerURLs.join(",")} clientURLs=${clientURLs.join(",")} isLeader=${id === leaderId}${learner}\n`,
    );
  }
  return EXIT.ok;
}

export async function memberAdd(context: Context): Promise<number> {
  const [name = "", url = ""] = context.args;
  if (context.args.length !== 2) throw failure("Provide a name and a single member peerURL");
  const session = await Session.open(context);
  const isLearner = context.flags.bool("learner");
  const peerURLs = readUrls(isLearner ? url.split(",") : [url]);
  const added = await callApi(session, {
    method: "POST",
    path: "/v2/members",
    body: isLearner ? { peerURLs, isLearner } : { peerURLs },
    expected: isLearner ? [201, 400, 409, 412] : [201, 409],
  });
  throwConflict(added);
  const { id, isLearner: isShown = false } = added.json as Member;
  out(`Added member named ${name} with ID ${id} to cluster${isShown ? " as a learner" : ""}\n`);
  if (isLearner && !isShown) {
    err("This cluster has no learners: the member will vote as soon as it is started.\n");
  }
  const members = await listMembers(session);
  const cluster = members.flatMap((member) =>
    member.peerURLs.map((peerURL) => `${member.id === id ? name : member.name}=${peerURL}`),
  );
  out(
    `\nETCD_NAME=${goQuote(name)}\nETCD_INITIAL_CLUSTER=${goQuote(cluster.join(","))}\nETCD_INITIAL_CLUSTER_STATE="existing"\n`,
  );
  return EXIT.ok;
}

/** Takes an id or a name. */
export async function memberPromote(context: Context): Promise<number> {
  const [wanted = ""] = context.args;
  if (context.args.length !== 1) throw failure("Provide a single member ID");
  const session = await Session.open(context);
  const id = memberIdOf(await listMembers(session), wanted);
  const { clusterId } = await callApi(session, {
    method: "POST",
    path: `/v2/members/${id}/promote`,
    expected: [200],
    hasReason: true,
    isFinal: true,
  });
  out(`Member ${id} promoted in cluster ${clusterId}\n`);
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

/**
 * @returns the id of the only member with that id or name
 * @throws Failure with exit code 1
 */
export function memberIdOf(members: readonly Member[], wanted: string): string {
  const id = parseId(wanted)?.toString(16);
  if (members.some((member) => member.id === id)) return id as string;
  const named = members.filter(({ name }) => name === wanted && name !== "");
  const [only] = named;
  if (only === undefined) throw failure(`no member has the id or name ${wanted}`);
  if (named.length === 1) return only.id;
  const ids = named.map((member) => member.id).join(", ");
  throw failure(`several members have the name ${wanted}; give one of the ids ${ids}`);
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
  return (members ?? []).map(({ id = "", name = "", peerURLs, clientURLs, isLearner }) => ({
    id,
    name,
    peerURLs: peerURLs ?? [],
    clientURLs: clientURLs ?? [],
    ...(isLearner === true ? { isLearner } : {}),
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
