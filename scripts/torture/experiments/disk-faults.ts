/**
 * Disk faults: every operation of a node's life fails once in every way that the kernel knows (full, input/output
 * error, short), whether it was done all the same or not.
 */
import { type Experiment, Violations } from "../experiment.ts";
import { endure, prepare } from "../lives/fault.ts";
import { mintedDisk } from "../lives/minted-disk.ts";
import { seededRandom } from "../random.ts";

const PACKETS = 120;

export const experiment: Experiment = {
  claim:
    "a full or failing disk stops a node at once: it promises nothing more, and nothing promised is lost",
  trials: { unit: "faults", short: 150, full: 10_000 },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    const minted = await mintedDisk(PACKETS);
    let [endured, recovered, lives] = [0, 0, 0];
    while (endured < trials) {
      const life = seed + lives++;
      const random = seededRandom(life);
      const attack = {
        minted,
        random,
        broken: (what: string) => violations.add(`life ${life}: ${what}`),
        judged: () => recovered++,
      };
      const ordeal = await prepare(attack, (purpose) => seededRandom(life * 3 + purpose));
      // A short run takes some of one life, a full one all of each.
      for (const [number, fault] of random.shuffled(ordeal.faults).slice(0, trials - endured)) {
        await endure(ordeal, number, fault);
        endured++;
      }
      note(`${endured} faults, ${violations.count} violations`);
    }
    return { trials: endured, violations, figures: { lives, recovered } };
  },
};
