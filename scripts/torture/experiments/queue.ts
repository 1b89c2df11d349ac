/**
 * Everything that can befall the queue and its worker, while users open without a pause: they must not notice,
 * and every acknowledged open must be in the ledger once.
 */
import { readLedger } from "../../../core/store/ledger-reader.ts";
import { type Experiment, Violations } from "../experiment.ts";
import { Crowd } from "../queue/crowd.ts";
import { FAULTS } from "../queue/faults.ts";
import { Scene } from "../queue/scene.ts";
import { Show } from "../queue/show.ts";
import { seededRandom } from "../random.ts";
import { hongbao } from "../stage/program.ts";
import { until } from "../stage/until.ts";

const USERS_PER_SECOND = 50;
const WARM_UP_USERS = 25;
/** And one more for each fault. */
const QUIET_USERS = 60;
/** Packets for the slowest fault there is, many times over: nobody may go without. */
const FAULT_SECONDS_MAX = 60;
const SETTLE_MS_MAX = 60_000;
const DRAIN_FACTOR_MIN = 2;

export const experiment: Experiment = {
  claim:
    "however the queue loses, repeats or delays, opens go on unaffected and each is credited once; a backlog drains faster than twice the arrivals",
  trials: { unit: "faults", short: 6, full: 200 },
  run: async ({ trials, seed, note }) => {
    const random = seededRandom(seed);
    const violations = new Violations();
    const show = await Show.open(USERS_PER_SECOND * FAULT_SECONDS_MAX * (trials + 1));
    try {
      const crowd = new Crowd(show.nodeUrls, USERS_PER_SECOND, violations);
      const scene = new Scene(show, crowd);
      crowd.start();
      for (const [phase, users] of [
        ["warm-up", WARM_UP_USERS],
        ["quiet", QUIET_USERS + trials],
      ] as const) {
        crowd.phase = phase;
        const goal = crowd.opened.size + users;
        await until(() => crowd.opened.size >= goal, SETTLE_MS_MAX);
      }
      await scene.nextCredits(1);
      for (let trial = 0, kinds: string[] = []; trial < trials; trial++) {
        if (kinds.length === 0) kinds = random.shuffled(Object.keys(FAULTS));
        const kind = kinds.pop() ?? "";
        crowd.phase = kind;
        const startedMs = performance.now();
        try {
          await FAULTS[kind]?.(scene, random);
          await scene.nextCredits(1);
        } catch (error) {
          violations.add(`${kind}: ${error instanceof Error ? error.message : error}; ${show.lastWords()}`);
          await crowd.stop();
          return { trials: trial, violations, figures: figures(scene) };
        }
        note(`${trial + 1}: ${kind}, ${Math.round(performance.now() - startedMs)} ms`);
      }
      await crowd.stop();
      await settle(scene, violations);
      return { trials, violations, figures: figures(scene) };
    } finally {
      await show.close();
    }
  },
};

/** Lets everything come to its end, and holds the ledger against what users were shown. */
async function settle(scene: Scene, violations: Violations): Promise<void> {
  const { show, crowd } = scene;
  const { worst } = scene;
  violations.expect(
    worst === undefined || worst.creditsPerSecond > DRAIN_FACTOR_MIN * worst.arrivalsPerSecond,
    `a backlog drained too slowly: ${JSON.stringify(worst)}`,
  );
  await until(() => scene.backlog <= 0, SETTLE_MS_MAX).catch(() => {});
  for (const node of show.nodes) {
    violations.expect((await node.stop()) === 0, "a node did not stop cleanly");
    // Whatever happened to the queue, there was one ledger all the time, and it lost nothing.
    const alarm = node.stderr.split("\n").find((line) => line.includes('"level":50'));
    violations.expect(alarm === undefined, `a node raised a false alarm: ${alarm}`);
  }
  violations.expect((await show.worker.stop()) === 0, "the worker did not stop cleanly");
  const lost = new Map(crowd.opened);
  const ledger = readLedger(show.minted.epochDir.of.ledger);
  for (const { epoch, shard, serial, cents, user } of ledger.credits()) {
    const packet = `${epoch}-${shard}-${serial}`;
    const shown = lost.get(packet);
    violations.expect(
      shown?.cents === cents && shown.user === user,
      `${packet} is credited to ${user} with ${cents} cents; shown: ${JSON.stringify(shown ?? "nothing, or credited twice")}`,
    );
    lost.delete(packet);
  }
  ledger.close();
  for (const [packet, { user }] of lost)
    violations.add(`${packet} of ${user} was opened and is not credited`);
  const books = await hongbao(["reconcile", show.minted.campaign, "--json"], show.environment);
  violations.expect(
    books.code === 0,
    `reconcile ends with ${books.code}: ${books.stderr}${books.stdout.slice(0, 500)}`,
  );
}

function figures({ crowd, drains, happened, worst }: Scene) {
  const { quiet, faults, "warm-up": _, ...byFault } = crowd.latencies();
  return {
    opens: crowd.opened.size,
    heldByTheMachine: crowd.held,
    happened,
    drains: drains.length,
    slowestDrain: worst,
    quiet,
    faults,
    byFault,
  };
}
