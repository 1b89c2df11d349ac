/**
 * Power loss: a node's real journal, book, ownership and show config on a simulated disk that loses whatever was not
 * synced, in every order and torn anywhere. What a kill -9 test cannot tell, because the page cache outlives it.
 */
import { type Experiment, Violations } from "../experiment.ts";
import { crashFiles } from "../lives/files.ts";
import { mintedDisk } from "../lives/minted-disk.ts";
import { type Attack, liveAndCrash } from "../lives/power-loss.ts";
import { crashScript } from "../lives/script.ts";
import { type SeededRandom, seededRandom } from "../random.ts";

/** Of all crash states, those of the script; the others are drawn from lives. */
const SCRIPTED = 0.25;
/** Some nodes lease as much as any may, some are soon sold out. */
const [MANY_PACKETS, FEW_PACKETS] = [1800, 8];

export const experiment: Experiment = {
  claim: "after a power loss at any moment nothing acknowledged is lost and nothing leaves twice",
  trials: { unit: "crash states", short: 1500, full: 120_000 },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    const fileStates = await crashFiles((what) => violations.add(what));
    const mints = [await mintedDisk(MANY_PACKETS), await mintedDisk(FEW_PACKETS)] as const;
    let judged = 0;
    const attack = (random: SeededRandom, name: string): Attack => ({
      minted: random.pick(mints),
      random,
      broken: (what) => violations.add(`${name}: ${what}`),
      judged: () => judged++,
    });
    await crashScript(attack(seededRandom(seed), "script"), Math.floor(trials * SCRIPTED));
    const scripted = judged;
    note(`${judged} crash states of the script, ${violations.count} violations`);
    for (let disk = 0; judged < trials; disk++) {
      await liveAndCrash(attack(seededRandom(seed + disk), `disk ${disk}`));
      if (disk % 100 === 99) note(`${judged} crash states, ${violations.count} violations`);
    }
    return { trials: judged, violations, figures: { scripted, fileStates } };
  },
};
