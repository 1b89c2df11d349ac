/**
 * Every crash point: generator, node and worker, each in a scripted run from its first call to its clean stop, are
 * killed at every call that changes a disk; and again at every call of the life in which they recover from that.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LastCall } from "../crash/last-call.ts";
import { mintPlay } from "../crash/mint-play.ts";
import { nodePlay } from "../crash/node-play.ts";
import { Season } from "../crash/season.ts";
import { workerPlay } from "../crash/worker-play.ts";
import { type Experiment, Violations } from "../experiment.ts";
import { seededRandom } from "../random.ts";
import { mint } from "../stage/minted.ts";

/** More than there are: all of them. */
const ALL = 100_000;

export const experiment: Experiment = {
  claim:
    "killed at any call that changes a disk, a program starts again, and nothing is lost, doubled or left over",
  trials: { unit: "crash points", short: 6, full: ALL },
  run: async ({ trials, seed, note }) => {
    const dir = mkdtempSync(join(tmpdir(), "hongbao-crash-"));
    const minted = await mint({ packets: 160, budgetCents: 32_000, shards: 1 });
    const violations = new Violations();
    const world = { dir, lastCall: new LastCall(dir), violations, random: seededRandom(seed), note };
    const seasons = [mintPlay, nodePlay(minted), workerPlay(minted)].map((play) => new Season(play, world));
    try {
      // Half of the points lie in first lives, half in recoveries.
      const shares = seasons.map((_, i) => Math.floor((trials + i) / seasons.length));
      await Promise.all(seasons.map((season, i) => season.play(shares[i] ?? 0)));
      // Whoever tries some of them does not miss the few that are rare.
      if (trials >= ALL) for (const season of seasons) await season.playHidden();
    } finally {
      minted.remove();
      rmSync(dir, { recursive: true, force: true });
    }
    const [enumerated, killed] = [sum(seasons, "enumerated"), sum(seasons, "killed")];
    const notReached = seasons.flatMap((season) => season.notReached);
    const done = killed + notReached.length;
    violations.expect(killed > done / 2, `only ${killed} of ${done} points were reached`);
    const points = Object.fromEntries(seasons.map(({ name, enumerated }) => [name, enumerated]));
    return {
      trials: done,
      violations,
      figures: { enumerated, points, killed, notReached: notReached.length, missed: notReached },
    };
  },
};

function sum(seasons: readonly Season[], of: "enumerated" | "killed"): number {
  return seasons.reduce((total, season) => total + season[of], 0);
}
