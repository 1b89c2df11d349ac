/**
 * Wall clocks that jump, a program at a time and all at once, at every moment that matters. A node goes by its own
 * clock, as it stands: what that clock says between a question and its answer is known to the millisecond, and every
 * answer must be right for some moment of it. Timers and rates go by the monotonic clock and may not notice at all.
 *
 * Redis goes by the machine's clock, which is not moved.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Experiment, Violations } from "../experiment.ts";
import { type SeededRandom, seededRandom } from "../random.ts";
import { hongbao } from "../stage/program.ts";
import { MovableClock } from "../time/movable-clock.ts";
import { HOUR_MS, TimedShow } from "../time/timed-show.ts";

const AMOUNTS_MS = [1_000, HOUR_MS, 24 * HOUR_MS].flatMap((ms) => [ms, -ms]);
const OFFSET_MS_MAX = 49 * HOUR_MS;
/** So long before a round or the expiry, and then it comes by itself. */
const EDGE_MS = 60;
/** Of seven. */
const EDGES = 4;
const LOOK_MS = 100;
const ROW = 10;
const ROW_PAUSE_MS = 30;
/** Moments between two looks at the ledger. */
const CREDIT_EVERY = 6;
/** Jumps between two configs of the operator. */
const SET_EVERY = 200;
const PACKETS_A_JUMP = 40;

export const experiment: Experiment = {
  claim:
    "whatever the wall clocks do, nothing is handed out or expires but by the node's clock, nothing twice, nothing is lost, no rate is exceeded and nothing hangs",
  trials: { unit: "jumps", short: 40, full: 1_000 },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    const random = seededRandom(seed);
    const generated = expectSameMint(violations);
    const show = await TimedShow.open(2_000 + trials * PACKETS_A_JUMP, random, violations);
    try {
      const day = new Day(show, random);
      for (let moments = 1; day.jumps < trials; moments++) {
        await day.moment();
        await show.audience.lookAtShow();
        if (moments % CREDIT_EVERY === 0) await day.atHome();
        if (day.isTimeToSet()) await show.setShow();
        if (moments % 50 === 0) note(`${day.jumps} jumps, ${show.audience.opened.size} packets opened`);
      }
      await day.atHome();
      await show.close();
      await generated;
      const { opened, given, outcomes } = show.audience;
      const figures = { outcomes, packets: given.size, opened: opened.size, moments: day.seen };
      return { trials: day.jumps, violations, figures };
    } finally {
      await show.remove();
    }
  },
};

/** What happens to the clocks. */
class Day {
  readonly seen: Record<string, number> = {};
  private readonly show: TimedShow;
  private readonly random: SeededRandom;
  private setAt = 0;
  /** All of them in some order, then in another one. */
  private toCome: string[] = [];

  constructor(show: TimedShow, random: SeededRandom) {
    this.show = show;
    this.random = random;
  }

  get jumps(): number {
    const { nodeClock, workerClock, operatorClock } = this.show;
    return nodeClock.jumps + workerClock.jumps + operatorClock.jumps;
  }

  /** One of the moments at which a clock may jump. */
  async moment(): Promise<void> {
    const { show, random } = this;
    const { nodeClock, workerClock, audience } = show;
    const moments: Record<string, () => unknown> = {
      "of the node": () => this.jump(nodeClock),
      "of the worker and back": () => this.andBack(workerClock),
      "of both": () => this.jumpBoth(),
      "to edges": () => this.toEdges(),
      "in a row": () => this.inARow(),
      "before an open": () => this.beforeOpen(),
      "over the expiry": () => this.overTheExpiry(),
      "before a credit": () => this.beforeCredit(),
      "across a restart": () => show.restartNode(random.chance(0.5), () => this.jump(nodeClock)),
      "across a restart of the worker": () => show.restartWorker(() => this.jump(workerClock)),
    };
    if (this.toCome.length === 0) this.toCome = random.shuffled(Object.keys(moments));
    const name = this.toCome.pop() ?? "";
    this.seen[name] = (this.seen[name] ?? 0) + 1;
    await moments[name]?.();
    await sleep(LOOK_MS);
    await audience.emptyPocket(2);
    // A day that is over stays over: most of the time somebody puts the clock right.
    if (random.chance(0.5)) nodeClock.jumpTo(random.pick([0, 0, HOUR_MS, -HOUR_MS]));
  }

  /** The clock of the node says today, and everything opened is paid. */
  async atHome(): Promise<void> {
    const { show } = this;
    show.nodeClock.jumpTo(0);
    const opened = show.audience.opened.size;
    await show.expectSoon(() => show.audience.opened.size > opened, "nobody opens a packet");
    await show.expectCredited();
  }

  /** The operator's clock jumps as well, if it is time. */
  isTimeToSet(): boolean {
    if (this.jumps < this.setAt) return false;
    this.setAt = this.jumps + SET_EVERY;
    this.jump(this.show.operatorClock);
    return true;
  }

  private jump(clock: MovableClock): void {
    const toMs = clock.offsetMs + this.random.pick(AMOUNTS_MS);
    clock.jumpTo(Math.abs(toMs) > OFFSET_MS_MAX ? 0 : toMs);
  }

  private jumpBoth(): void {
    this.jump(this.show.nodeClock);
    this.jump(this.show.workerClock);
  }

  /** What was paid for in the future must not be waited for in the past. */
  private async andBack(clock: MovableClock): Promise<void> {
    const before = clock.offsetMs;
    clock.jumpTo(before + Math.abs(this.random.pick(AMOUNTS_MS)));
    await this.show.expectCredited();
    clock.jumpTo(before);
  }

  /** Just before something begins or ends, and what comes, comes by itself; then to just before it again. */
  private async toEdges(): Promise<void> {
    const { nodeClock, timetable, audience } = this.show;
    for (const edge of this.random.shuffled(timetable.edges).slice(0, EDGES)) {
      nodeClock.jumpTo(edge - EDGE_MS - Date.now());
      await sleep(2 * EDGE_MS);
      await audience.lookAtShow();
      nodeClock.jumpTo(edge - EDGE_MS - Date.now());
      await audience.lookAtShow();
    }
  }

  /** Forward again and again while the round goes on: each jump is time that did not pass. */
  private async inARow(): Promise<void> {
    const { nodeClock } = this.show;
    nodeClock.jumpTo(-HOUR_MS);
    for (let i = 1; i < ROW; i++) {
      await sleep(ROW_PAUSE_MS);
      nodeClock.jumpTo(nodeClock.offsetMs + this.random.pick([1_000, HOUR_MS / 6]));
    }
  }

  /** A packet that was won in time is opened when it is too late, and then when it is not. */
  private async overTheExpiry(): Promise<void> {
    const { nodeClock, timetable, audience } = this.show;
    nodeClock.jumpTo(0);
    await this.show.expectSoon(() => audience.pocketed > 0, "nobody wins a packet");
    nodeClock.jumpTo(timetable.expiresAtMs - EDGE_MS - Date.now());
    await sleep(2 * EDGE_MS);
    await audience.emptyPocket(1);
    nodeClock.jumpTo(timetable.expiresAtMs - HOUR_MS - Date.now());
    await audience.emptyPocket(1);
  }

  private async beforeOpen(): Promise<void> {
    const { nodeClock, audience } = this.show;
    nodeClock.jumpTo(0);
    await this.show.expectSoon(() => audience.pocketed > 0, "nobody wins a packet");
    this.jump(nodeClock);
    await audience.emptyPocket(1);
  }

  private async beforeCredit(): Promise<void> {
    const { nodeClock, worker, audience } = this.show;
    nodeClock.jumpTo(0);
    const opened = audience.opened.size;
    process.kill(worker.pid, "SIGSTOP");
    await this.show.expectSoon(() => audience.opened.size > opened, "nobody opens a packet");
    this.jumpBoth();
    process.kill(worker.pid, "SIGCONT");
  }
}

/** A mint that is resumed a day earlier is the same mint, byte for byte. */
async function expectSameMint(violations: Violations): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "timed-mint-"));
  const clock = new MovableClock();
  try {
    const campaign = {
      campaign: "timed",
      mode: "test",
      budgetCents: 20_000,
      packets: 200,
      shards: 1,
      split: { rule: "double-mean", minCents: 1, maxCents: 2_000 },
      ads: [{ id: 1, name: "Sponsor", weight: 1 }],
      expiresAt: new Date(Date.now() + 72 * HOUR_MS).toISOString(),
    };
    const file = join(dir, "campaign.json");
    writeFileSync(file, JSON.stringify(campaign));
    const env = { SEEDS_DIR: join(dir, "seeds"), KEYS_DIR: join(dir, "keys"), ...clock.environment };
    clock.jumpTo(24 * HOUR_MS);
    const running = hongbao(["generate", file, "--workers", "1"], env);
    clock.jumpTo(-24 * HOUR_MS);
    const first = await running;
    const before = hashBelow(join(dir, "seeds"));
    clock.jumpTo(48 * HOUR_MS);
    const second = await hongbao(["generate", file, "--workers", "1", "--resume"], env);
    violations.expect(first.code === 0, `generate ended with ${first.code}: ${first.stderr}`);
    violations.expect(second.code === 0, `generate --resume ended with ${second.code}: ${second.stderr}`);
    violations.expect(
      hashBelow(join(dir, "seeds")) === before,
      "a mint that was resumed at another time is another",
    );
  } finally {
    clock.remove();
    rmSync(dir, { recursive: true, force: true });
  }
}

function hashBelow(dir: string): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(dir, { recursive: true, encoding: "utf8" }).sort()) {
    const path = join(dir, name);
    if (statSync(path).isFile()) hash.update(`${name}\n`).update(readFileSync(path));
  }
  return hash.digest("hex");
}
