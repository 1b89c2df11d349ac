/**
 * The ledger under attack, and rebuilt. Each trial is one small show with real nodes, Redis and workers, in which
 * some faults happen, in an order of their own; in the end the ledger is rebuilt from the journals.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LastCall } from "../crash/last-call.ts";
import { type Experiment, Violations } from "../experiment.ts";
import { someFaults } from "../ledger/faults.ts";
import { Payday } from "../ledger/payday.ts";
import { rebuild, refuseOther } from "../ledger/rebuilt.ts";
import { seededRandom } from "../random.ts";
import { freePort } from "../stage/free-port.ts";
import { type Minted, mint } from "../stage/minted.ts";
import { RedisServer } from "../stage/redis-server.ts";

const AT_ONCE = 2;
/** What a break-in leaves in the books. */
const REFUSED = ["forged", "double-claim", "over-quota"] as const;

export const experiment: Experiment = {
  claim:
    "a ledger that is shared, locked, full, gone, replaced, damaged or restored loses nothing and pays nobody twice, and one rebuilt from the journals is the same row by row",
  trials: { unit: "shows", short: 1, full: 100 },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    const world = await World.make();
    let next = 0;
    const shows = async (): Promise<void> => {
      while (next < trials) {
        const number = next++;
        const { first } = await world.show(number, seed + number);
        for (const what of first) {
          violations.add(`show ${number}: ${what}`);
          note(`show ${number}: ${what}`);
        }
        if (number % 10 === 9) note(`${number + 1} shows done`);
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, trials) }, shows));
    } finally {
      world.remove();
    }
    const { faults, credits, rejections, replayKills } = world;
    return { trials, violations, figures: { faults, credits, rejections, replayKills } };
  },
};

class World {
  readonly faults: Record<string, number> = {};
  credits = 0;
  rejections = 0;
  replayKills = 0;
  private readonly dir = mkdtempSync(join(tmpdir(), "hongbao-ledger-"));
  private readonly lastCall = new LastCall(this.dir);
  private readonly minted: Minted;
  /** The same campaign, minted by somebody else. */
  private readonly other: Minted;

  private constructor(minted: Minted, other: Minted) {
    this.minted = minted;
    this.other = other;
  }

  static async make(): Promise<World> {
    const campaign = { packets: 1_200, budgetCents: 240_000, quota: { perUser: 3, perAd: 1 } };
    return new World(await mint(campaign), await mint(campaign));
  }

  remove(): void {
    this.minted.remove();
    this.other.remove();
    rmSync(this.dir, { recursive: true, force: true });
  }

  async show(number: number, seed: number): Promise<Violations> {
    const violations = new Violations();
    const dir = join(this.dir, `${number}`);
    const random = seededRandom(seed);
    const redis = new RedisServer(await freePort());
    let day: Payday | undefined;
    try {
      await redis.start();
      day = await Payday.begin(this.minted, dir, redis, random, violations);
      await day.crowd();
      await day.calm();
      for (const fault of someFaults(random)) {
        await fault(day);
        this.faults[fault.name] = (this.faults[fault.name] ?? 0) + 1;
      }
      await this.end(day, dir);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      violations.add(`${why}: ${day?.lastWords() ?? "it had not begun"}`);
    } finally {
      await Promise.all([day?.end(), redis.kill()]);
      rmSync(dir, { recursive: true, force: true });
    }
    return violations;
  }

  private async end(day: Payday, dir: string): Promise<void> {
    await refuseOther(day, dir, this.other);
    await day.stopNodes();
    await day.stopWorker();
    const { credited, counts } = await day.show.account(0);
    this.credits += credited.packets;
    for (const refused of REFUSED) {
      this.rejections += counts[refused] ?? 0;
      day.violations.expect((counts[refused] ?? 0) > 0, `no ${refused} claim was found in the books`);
    }
    this.replayKills += await rebuild(day, dir, this.lastCall);
  }
}
