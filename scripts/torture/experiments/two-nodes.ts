/**
 * One shard, one journal: whoever serves a shard a second time, or from the wrong journal, is refused with the
 * reason, or does no harm.
 */
import { type Experiment, Violations } from "../experiment.ts";
import { seededRandom } from "../random.ts";
import { freePort } from "../stage/free-port.ts";
import { RedisServer } from "../stage/redis-server.ts";
import { CASES } from "../two-nodes/cases.ts";
import { Scene } from "../two-nodes/scene.ts";

/** Scenes at a time: most of their time goes into programs that start. */
const AT_ONCE = 3;
const KINDS = Object.keys(CASES);

export const experiment: Experiment = {
  claim:
    "a second node for a shard, an older copy, a foreign or missing journal, or another mint of the epoch is refused with the reason, or credits nothing",
  trials: { unit: "cases", short: 6, full: KINDS.length * 12 },
  run: async ({ trials, seed, note }) => {
    const random = seededRandom(seed);
    const violations = new Violations();
    const redis = new RedisServer(await freePort());
    const twiceWithoutLedger: Record<string, number> = {};
    let [next, late] = [0, 0];
    const lane = async () => {
      while (next < trials) {
        const trial = next++;
        const kind = KINDS[trial % KINDS.length] ?? "";
        const world = { random: seededRandom(random.below(2 ** 31)), redis, violations };
        const scene = await Scene.open(kind, `gala-${trial}`, world);
        try {
          await CASES[kind]?.(scene);
          await scene.settle();
          late += scene.late;
          if (scene.isBlind)
            twiceWithoutLedger[kind] = Math.max(twiceWithoutLedger[kind] ?? 0, scene.handedOutTwice.length);
          note(`${trial + 1}: ${kind}`);
        } catch (error) {
          scene.expect(false, `broke off: ${error instanceof Error ? error.message : String(error)}`);
        } finally {
          await scene.close();
        }
      }
    };
    try {
      await redis.start();
      await Promise.all(Array.from({ length: AT_ONCE }, lane));
      return { trials, violations, figures: { kinds: KINDS.length, late, twiceWithoutLedger } };
    } finally {
      await redis.kill();
    }
  },
};
