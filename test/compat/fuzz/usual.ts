/** Parts of request sequences; odd.ts has the unusual ones. */

/** Few paths, so that requests meet the same nodes again and again: here mostly files, */
export const FILES = ["/a", "/b", "/d/a", "/d/b", "/d/e/a", "/_h", "/d/_h/a"];
/** and here mostly directories. */
export const DIRECTORIES = ["", "/d", "/d", "/d/e", "/q", "/d/_h"];
export const NAMES = ["a", "b", "d", "_h", "q"];
export const VALUES = ["1", "2", "1", "2", "x", "", "hello world"];

export const OTHER_PATHS = [
  ...words("/version /health /v2/machines /v2/stats/self /v2/stats/leader /v2/stats/store"),
  ...words("/v2/members /v2/members/ /v2/members/leader /v2/members/<id> /v2/members/x"),
  ...words("/v2/members/%6ceader /v2/members/leader/ /v2/members/a/b /version/ /health/"),
  ...words("/ /v2 /v2/ /v2/keysx /v2/key /v2/keys%2f /v2/stats /v2/stats/ /v2/none"),
  ...words("/v2/stats/store/ /v2/machines/ /%76ersion /V2/keys /v2//keys/a /./version"),
];

/**
 * Invalid ids only: etcd rejects an unknown valid id after it is in the log, which shows in the
 * counters of `/v2/stats/store`.
 */
export const MEMBER_IDS = [
  ...["abx", "10000000000000000", "xyz", "-1", "a/b", "", "0x1", "%ff", "%c3%a9", "+1", "1_0"],
  ...["leader", "%c3", "/", "1%2F", "<id>x", "%", "%zz"],
];

/** Weighted towards the important ones. */
export const METHODS = words("GET GET GET PUT PUT PUT PUT PUT POST DELETE DELETE HEAD");

/** Method, where, and the query or form. */
export const TYPICAL: readonly (readonly [string, readonly string[], string])[] = [
  ["PUT", FILES, "value=1"],
  ["PUT", FILES, "value=2&ttl=10000"],
  ["PUT", FILES, "value=x&prevExist=true"],
  ["PUT", FILES, "ttl=10000&refresh=true"],
  ["PUT", FILES, "ttl=20000&refresh=true&prevExist=true"],
  ["PUT", FILES, "ttl=30000&refresh=true&prevValue=1"],
  ["PUT", FILES, "ttl=40000&refresh=true&prevIndex=<m+0>&noValueOnSuccess=true"],
  ["PUT", FILES, "value=2&prevIndex=<m+0>"],
  ["PUT", FILES, "value=1&prevValue=2&prevIndex=<m+0>&prevExist=true"],
  ["PUT", FILES, "value=3&prevExist=true&noValueOnSuccess=true"],
  ["PUT", DIRECTORIES, "dir=true"],
  ["PUT", DIRECTORIES, "dir=true&prevExist=false"],
  ["PUT", DIRECTORIES, "dir=true&prevExist=true&ttl=10000"],
  ["PUT", DIRECTORIES, "dir=true&prevExist=true&ttl=10000&refresh=true"],
  ["POST", DIRECTORIES, "value=1"],
  ["DELETE", FILES, ""],
  ["DELETE", FILES, "prevIndex=<m+0>"],
  ["DELETE", FILES, "prevValue=1"],
  ["DELETE", DIRECTORIES, "dir=true"],
  ["DELETE", DIRECTORIES, "recursive=true"],
  ["GET", FILES, "quorum=true"],
  ["GET", DIRECTORIES, "recursive=true&sorted=true"],
];

const READ_FIELDS = words("recursive sorted quorum recursive sorted wait stream");
export const ALL_FIELDS = [
  ...words("value ttl dir prevValue prevIndex prevExist refresh recursive sorted quorum wait"),
  ...words("waitIndex stream noValueOnSuccess unknown"),
];
export const FIELDS: Readonly<Record<string, readonly string[]>> = {
  GET: READ_FIELDS,
  HEAD: READ_FIELDS,
  PUT: words(
    "ttl ttl prevValue prevValue prevIndex prevIndex prevExist prevExist dir refresh noValueOnSuccess",
  ),
  POST: words("ttl dir noValueOnSuccess prevExist"),
  DELETE: words("dir recursive recursive recursive prevValue prevIndex"),
};

function words(text: string): string[] {
  return text.split(" ");
}
