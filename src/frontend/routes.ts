/** What is served, without names of keys, members or users: few enough to name spans by. */
const ROUTES = [
  ..."keys members auth stats machines leader admin discovery config".split(" ").map(below("/v2/")),
  ..."health livez readyz version metrics debug config".split(" ").map(below("/")),
];

function below(root: string): (name: string) => string {
  return (name) => root + name;
}

/** @returns the route of a path; "" for one that is none */
export function routeOf(path: string): string {
  return ROUTES.find((route) => isBelow(path, route)) ?? "";
}

/** Whether a path is `root` or below it. */
function isBelow(path: string, root: string): boolean {
  return path.startsWith(root) && (path.length === root.length || path[root.length] === "/");
}
