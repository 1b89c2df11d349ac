/**
 * The access node's run: it starts on a shard that nobody served, takes a show config, hands out, opens, forwards
 * to a worker, takes a newer config, is asked everything again, and stops cleanly.
 */

import { existsSync } from "node:fs";
import { Show } from "../small-show/show.ts";
import { freePort } from "../stage/free-port.ts";
import type { Minted } from "../stage/minted.ts";
import { Program } from "../stage/program.ts";
import { RedisServer } from "../stage/redis-server.ts";
import { until } from "../stage/until.ts";
import { Mortal } from "./mortal.ts";
import type { Play } from "./play.ts";

const STARTED_MS_MAX = 60_000;

export function nodePlay(minted: Minted): Play {
  return {
    name: "node",
    isBound: () => false,
    heart: /segment-\d+\.log$/,
    atOnce: 3,
    perform: async ({ dir, lastCall, fates, violations }) => {
      const redis = new RedisServer(await freePort());
      await redis.start();
      const show = await Show.stage(minted, `${dir}/show`, redis, violations);
      const [door] = show.doors;
      if (door === undefined) throw new Error("a show has a door");
      const { guests, nodeArgs, nodeDir } = door;
      const worker = new Program([...show.workerArgs], { ...show.env });
      const options = {
        args: nodeArgs,
        env: show.env,
        upWhen: "node ready",
        below: `${dir}/show`,
        logs: dir,
      };
      const node = new Mortal(options, lastCall, fates);
      try {
        // Else the worker may have made the directories that both need.
        await until(() => existsSync(nodeDir), STARTED_MS_MAX);
        await worker.start(false);
        await show.air(1);
        for (const user of ["ann", "bob", "cat"]) await guests.visit(user);
        await Promise.all(["dan", "eve", "fay", "gus"].map((user) => guests.visit(user)));
        await show.air(2);
        await guests.visitAgain();
        await guests.visit("hal");
        await show.paid();
        const end = await node.stop();
        violations.expect(end === 0, `the node ended with ${end}: ${node.stderr}`);
        violations.expect((await worker.stop()) === 0, "the worker did not stop cleanly");
        await show.account(node.kills);
      } finally {
        await Promise.all([node.destroy(), worker.kill(), redis.kill()]);
      }
      return node.lives.slice(0, fates.length);
    },
  };
}
