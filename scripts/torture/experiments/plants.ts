/**
 * The experiments themselves on trial: every planted bug must be caught by the experiment that it names, and the
 * same experiment must find nothing in the same tree without it.
 */
import { type Experiment, Violations } from "../experiment.ts";
import { type Plant, readPlants, tryPlant } from "../plant.ts";
import { seededRandom } from "../random.ts";

const AT_ONCE = 2;

export const experiment: Experiment = {
  claim: "every deliberate bug is caught by the experiment that stands for its promise",
  trials: { unit: "planted bugs", short: 1, full: readPlants().length },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    const plants = seededRandom(seed).shuffled(readPlants()).slice(0, trials);
    const caught: Record<string, string> = {};
    const startedMs = performance.now();
    await each(plants, async (plant) => {
      const seen = await tryPlant(plant, true, seed);
      const isCaught = seen.violations > 0;
      violations.expect(
        isCaught,
        `${plant.name} (${plant.what}) was not caught by ${plant.experiment}: ${seen.brokeDown ?? "0 violations"}`,
      );
      if (isCaught) caught[plant.name] = `${plant.experiment}: ${seen.first[0]}`;
      note(
        `${isCaught ? "caught" : "NOT CAUGHT"}: ${plant.name}, by ${plant.experiment}: ${seen.first[0] ?? seen.brokeDown ?? ""}`,
      );
    });
    const secondsToCatch = Math.round((performance.now() - startedMs) / 1000);
    const controls = new Map(plants.map((plant) => [`${plant.experiment} ${plant.trials}`, plant]));
    await each([...controls.values()], async (plant) => {
      const { violations: found, first, brokeDown } = await tryPlant(plant, false, seed);
      violations.expect(
        found === 0 && brokeDown === undefined,
        `${plant.experiment} finds something without a bug: ${first[0] ?? brokeDown}`,
      );
    });
    return {
      trials: plants.length,
      violations,
      figures: { secondsToCatch, controls: controls.size, caught },
    };
  },
};

/** Two at a time. */
async function each(plants: readonly Plant[], work: (plant: Plant) => Promise<void>): Promise<void> {
  const left = [...plants];
  const worker = async () => {
    for (let plant = left.shift(); plant !== undefined; plant = left.shift()) await work(plant);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
