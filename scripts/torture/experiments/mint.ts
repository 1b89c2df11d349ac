/**
 * The generator on a disk that loses power and fails: its real files, names and syncs in every order that a crash
 * may leave of them. A part of the lives begins without keys, so that these are made and lost as well.
 */
import { type Experiment, Violations } from "../experiment.ts";
import { killedMint, runMint } from "../mint/mint-run.ts";
import { judgeEnded, judgeFound, keyedDisk, Undisturbed } from "../mint/verdict.ts";
import { type SeededRandom, seededRandom } from "../random.ts";
import type { Attempt, Fault } from "../simulated-disk/disk-process.ts";
import { FAULTS } from "../simulated-disk/faults.ts";
import { laggard } from "../simulated-disk/laggard.ts";
import { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";

/** Of all trials, at most so many are faults; the others are crash states. */
const SHARE_OF_FAULTS = 0.25;
const RUNS_MAX = 3;
const CRASHES_A_LIFE = 24;
/** A run has about 300. */
const OPERATIONS_MAX = 350;
const WITHOUT_KEYS = 0.3;

export const experiment: Experiment = {
  claim:
    "a generator whose machine loses power or whose disk fails, at any operation, leaves no half file and no epoch without its keys, and a resumed run makes the same bytes",
  trials: { unit: "crash states and disk faults", short: 300, full: 20_000 },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    const ordeal = new Ordeal(await keyedDisk(), violations);
    const faults = await ordeal.faults(seededRandom(seed), Math.floor(trials * SHARE_OF_FAULTS));
    note(`${faults} disk faults, ${violations.count} violations`);
    let lives = 0;
    for (; ordeal.judged < trials; lives++) {
      await ordeal.live(seededRandom(seed + lives));
      if (lives % 50 === 49) note(`${ordeal.judged} trials, ${violations.count} violations`);
    }
    return { trials: ordeal.judged, violations, figures: { faults, lives } };
  },
};

class Ordeal {
  judged = 0;
  private readonly keyed: SimulatedDisk;
  private readonly violations: Violations;
  private readonly undisturbed = new Undisturbed();

  constructor(keyed: SimulatedDisk, violations: Violations) {
    this.keyed = keyed;
    this.violations = violations;
  }

  /** Runs on one machine, of which each but perhaps the last is killed; then the power fails at many moments. */
  async live(random: SeededRandom): Promise<void> {
    let disk = this.begin(random).copy();
    const runs = 1 + random.below(RUNS_MAX);
    for (let run = 0; run < runs; run++) {
      const operations = random.chance(0.2) ? Number.POSITIVE_INFINITY : random.below(OPERATIONS_MAX);
      disk = await killedMint(disk, operations, laggard(random));
    }
    for (let crash = 0; crash < CRASHES_A_LIFE; crash++)
      await this.resume(disk.powerLoss(random, random.below(disk.moment + 1)), random, "power lost");
  }

  /** Every operation of a run fails once in every way. @returns how many were tried */
  async faults(random: SeededRandom, most: number): Promise<number> {
    const attempts: Attempt[] = [];
    const begin = this.begin(random);
    const watched = begin.copy({
      fault: (attempt) => {
        attempts.push(attempt);
        return undefined;
      },
    });
    await runMint(watched);
    const all = attempts.flatMap((attempt) => FAULTS[attempt.kind].map((fault) => [attempt, fault] as const));
    const tried = random.shuffled(all).slice(0, most);
    for (const [attempt, fault] of tried) await this.endure(begin, attempt, fault, random);
    return tried.length;
  }

  /** The run ends with an error, or right; so does the next one, also when the power fails in between. */
  private async endure(
    begin: SimulatedDisk,
    hit: Attempt,
    fault: Fault,
    random: SeededRandom,
  ): Promise<void> {
    const what = `${hit.kind} ${hit.path} (${fault.code ?? "short"}, ${fault.done} done)`;
    const disk = begin.copy({ fault: ({ number }) => (number === hit.number ? fault : undefined) });
    const error = await runMint(disk).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    for (const path of disk.syncedAgain)
      this.violations.add(`${what}: ${path} was synced again after a sync of it had failed`);
    if (error === undefined) this.blame(what, await judgeEnded(disk, this.undisturbed));
    disk.kill();
    await this.resume(disk.powerLoss(random), random, `${what}, then power lost`);
    await this.resume(disk.process(), random, what);
  }

  /** What was found is right, a resumed run makes the rest, and then no power loss takes anything away. */
  private async resume(disk: SimulatedDisk, random: SeededRandom, what: string): Promise<void> {
    this.judged++;
    this.blame(`${what}, found`, await judgeFound(disk, this.undisturbed));
    try {
      await runMint(disk);
    } catch (error) {
      return this.blame(`${what}, resumed`, [error instanceof Error ? error.message : String(error)]);
    }
    this.blame(`${what}, resumed`, await judgeEnded(disk, this.undisturbed));
    const afterwards = disk.powerLoss(random);
    this.blame(`${what}, resumed, and power lost`, await judgeEnded(afterwards, this.undisturbed));
  }

  private begin(random: SeededRandom): SimulatedDisk {
    return random.chance(WITHOUT_KEYS) ? new SimulatedDisk({}) : this.keyed;
  }

  private blame(what: string, wrong: readonly string[]): void {
    for (const one of wrong) this.violations.add(`${what}: ${one}`);
  }
}
