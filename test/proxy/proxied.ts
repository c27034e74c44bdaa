import { PORT_LOST, TestMember } from "../support/member.js";

/** A cluster, and a proxy in front of it. */
export interface Proxied {
  readonly members: readonly TestMember[];
  readonly proxy: TestMember;
}

export async function makeProxied(size: number, flags: readonly string[] = []): Promise<Proxied> {
  for (let attempt = 1; ; attempt++) {
    const made: TestMember[] = [];
    try {
      for (let n = 1; n <= size; n++) {
        made.push(await TestMember.make("ringd", ["--name", `n${n}`]));
      }
      const cluster = made.map(({ peerUrl }, i) => `n${i + 1}=${peerUrl}`).join(",");
      const proxy = await TestMember.make("ringd", [
        ...["--proxy", "on", "--initial-cluster", cluster, ...flags],
      ]);
      const members = [...made];
      made.push(proxy);
      await Promise.all(members.map((member) => member.start(["--initial-cluster", cluster])));
      await proxy.start();
      return { members, proxy };
    } catch (error) {
      const isLost = made.some(({ log }) => PORT_LOST.test(log));
      await Promise.all(made.map((one) => one.destroy()));
      if (attempt === 5 || !isLost) throw error;
    }
  }
}

export async function destroyProxied({ members, proxy }: Proxied): Promise<void> {
  await Promise.all([proxy, ...members].map((one) => one.destroy()));
}
