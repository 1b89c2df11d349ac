/**
 * Whole lives of a campaign, from a seed each: node, forwarder, queue and worker in one process on simulated time,
 * network and disks, with everything that can go wrong (scripts/torture/simulation). In the manner of FoundationDB
 * and of TigerBeetle's VOPR.
 *
 * Seed i of a run is its base seed + i, so that `--seed N --trials 1` lives that one life again. A run of many seeds
 * is divided among processes of this same program.
 */
import { createHash } from "node:crypto";
import { type Experiment, type Outcome, Violations } from "../experiment.ts";
import { makeDeck } from "../simulation/deck.ts";
import { accountedFor } from "../simulation/finance.ts";
import { inProcesses } from "../simulation/processes.ts";
import { live } from "../simulation/simulated-life.ts";
import { Tallies } from "../simulation/tallies.ts";

/** Lives that one process lives. */
const PROCESS_SEEDS = 250;
/** Of so many lives, one ends with the production reconcile on its files. */
const FINANCE_EVERY = 20;
const SEEDS = 2 ** 32;

export const experiment: Experiment = {
  claim:
    "whatever crashes, loses power, is lost, repeated, reordered or forged, in any order: no packet goes to two users, what was acknowledged is credited once, and the books balance",
  trials: { unit: "seeds", short: 60, full: 20_000 },
  run: async (options) => {
    if (options.trials > PROCESS_SEEDS) return await inProcesses("simulate", options, PROCESS_SEEDS);
    return await lives(options);
  },
};

async function lives({ trials, seed: base }: { trials: number; seed: number }): Promise<Outcome> {
  const deck = await makeDeck();
  const violations = new Violations();
  const tallies = new Tallies();
  const logs = createHash("sha256");
  let [done, events, simulatedMs] = [0, 0, 0];
  try {
    for (; done < trials && violations.count === 0; done++) {
      const seed = (base + done) % SEEDS;
      const life = await live(deck, seed, (ended) =>
        seed % FINANCE_EVERY === 0 ? accountedFor(ended) : Promise.resolve(),
      );
      logs.update(life.digest);
      tallies.add(life.tallies.all);
      events += life.events;
      simulatedMs += life.simulatedMs;
      for (const what of life.violations.first) violations.add(`seed ${seed}: ${what}`);
      if (life.violations.count > 0)
        process.stderr.write(`${life.tail}seed ${seed}: ${life.violations.first.join("\n")}\n`);
    }
  } finally {
    deck.remove();
  }
  const simulatedHours = Math.round(simulatedMs / 36_000) / 100;
  const figures = { logHash: logs.digest("hex"), events, simulatedHours, happened: tallies.all };
  return { trials: done, violations, figures };
}
