/**
 * The credit worker's run: claims wait, it makes and funds the ledger, credits, acknowledges, and stops cleanly.
 * The node whose claims they are lives through it.
 */

import { Show } from "../small-show/show.ts";
import { freePort } from "../stage/free-port.ts";
import type { Minted } from "../stage/minted.ts";
import { Program } from "../stage/program.ts";
import { RedisServer } from "../stage/redis-server.ts";
import { Mortal } from "./mortal.ts";
import type { Play } from "./play.ts";

const GUESTS = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal"];

export function workerPlay(minted: Minted): Play {
  return {
    name: "worker",
    // SQLite goes on from its writes without a pause.
    isBound: ({ name, path }) => name === "write" && /ledger\.db/.test(path),
    heart: /ledger\.db-wal$/,
    atOnce: 6,
    perform: async ({ dir, lastCall, fates, violations }) => {
      const redis = new RedisServer(await freePort());
      await redis.start();
      const show = await Show.stage(minted, `${dir}/show`, redis, violations);
      const [door] = show.doors;
      if (door === undefined) throw new Error("a show has a door");
      const { guests, nodeArgs } = door;
      const node = new Program([...nodeArgs], { ...show.env });
      let worker: Mortal | undefined;
      try {
        await node.start();
        await show.air(1);
        await Promise.all(GUESTS.map((user) => guests.visit(user)));
        const options = {
          args: show.workerArgs,
          env: show.env,
          upWhen: "crediting",
          below: `${dir}/show`,
          logs: dir,
        };
        worker = new Mortal(options, lastCall, fates);
        await show.paid();
        const end = await worker.stop();
        violations.expect(end === 0, `the worker ended with ${end}: ${worker.stderr}`);
        violations.expect((await node.stop()) === 0, "the node did not stop cleanly");
        await show.account(0);
      } finally {
        await Promise.all([node.kill(), worker?.destroy(), redis.kill()]);
      }
      return worker.lives.slice(0, fates.length);
    },
  };
}
