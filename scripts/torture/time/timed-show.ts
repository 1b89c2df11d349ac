/**
 * A show whose programs each go by a wall clock of their own that can be moved: node, credit worker, and whatever
 * command is run beside them. Redis goes by the machine's clock, which nobody moves.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readLedger } from "../../../core/store/ledger-reader.ts";
import type { Violations } from "../experiment.ts";
import type { SeededRandom } from "../random.ts";
import { freePort } from "../stage/free-port.ts";
import { type Minted, mint } from "../stage/minted.ts";
import { type Ended, hongbao, Program } from "../stage/program.ts";
import { RedisServer } from "../stage/redis-server.ts";
import { until } from "../stage/until.ts";
import { MovableClock } from "./movable-clock.ts";
import { expectPaced } from "./paced.ts";
import { TimedAudience } from "./timed-audience.ts";
import { Timetable } from "./timetable.ts";

export const HOUR_MS = 3_600_000;
/** Few, so that a burst is told from a busy second. */
const PACKETS_PER_SECOND = 20;
/** With a rate, so that a pace which goes by the wall clock would stand still for a day. */
const CREDITS_PER_SECOND = 1_000;
const START_MS_MAX = 30_000;
const CREDIT_MS_MAX = 30_000;
const SOON_MS_MAX = 20_000;
/** Beyond it the operator is to be told. */
const STRAY_MS = 5_000;
const STRAY_SLACK_MS = 2_000;

export class TimedShow {
  readonly nodeClock = new MovableClock();
  readonly workerClock = new MovableClock();
  readonly operatorClock = new MovableClock();
  readonly node: Program;
  readonly worker: Program;
  readonly audience: TimedAudience;
  readonly timetable: Timetable;
  private readonly minted: Minted;
  private readonly redis: RedisServer;
  private readonly url: string;
  private readonly violations: Violations;
  private readonly newBuckets: { readonly fromMs: number; readonly toMs: number }[] = [];
  private version = 0;

  private constructor(
    minted: Minted,
    redis: RedisServer,
    port: number,
    timetable: Timetable,
    random: SeededRandom,
    violations: Violations,
  ) {
    this.minted = minted;
    this.redis = redis;
    this.url = `http://127.0.0.1:${port}`;
    this.timetable = timetable;
    this.violations = violations;
    const campaign = ["--campaign", minted.campaign];
    this.node = new Program(
      ["node", ...campaign, "--shard", "0", "--port", `${port}`],
      this.by(this.nodeClock),
    );
    this.worker = new Program(
      ["credit", ...campaign, "--rate", `${CREDITS_PER_SECOND}`],
      this.by(this.workerClock),
    );
    this.audience = new TimedAudience(this.url, this.nodeClock, timetable, random, violations);
  }

  /** The round of today is open now; a day away nothing is on air, and an hour more there is. Then everything expires. */
  static async open(packets: number, random: SeededRandom, violations: Violations): Promise<TimedShow> {
    const nowMs = Date.now();
    const round = (fromHours: number, toHours: number) => ({
      opensAtMs: nowMs + fromHours * HOUR_MS,
      closesAtMs: nowMs + toHours * HOUR_MS,
    });
    const timetable = new Timetable(
      [round(-25.5, -24.5), round(-5, 5), round(24.5, 25.5)],
      nowMs + 26 * HOUR_MS,
    );
    const minted = await mint({
      packets,
      budgetCents: packets * 100,
      shards: 1,
      expiresAt: new Date(timetable.expiresAtMs).toISOString(),
    });
    const redis = new RedisServer(await freePort());
    await redis.start();
    const show = new TimedShow(minted, redis, await freePort(), timetable, random, violations);
    await Promise.all([show.node.start(), show.worker.start(false)]);
    await show.setShow();
    show.audience.come();
    return show;
  }

  /** The operator sets the same rounds again, as a new version, by his own clock. */
  async setShow(): Promise<void> {
    const rounds = this.timetable.rounds.map(({ opensAtMs, closesAtMs }, index) => ({
      id: `round-${index}`,
      opensAt: new Date(opensAtMs).toISOString(),
      closesAt: new Date(closesAtMs).toISOString(),
      ads: [1, 2],
      packetsPerSecond: PACKETS_PER_SECOND,
    }));
    const { campaign, roots } = this.minted;
    const file = join(roots.seedsDir, "show.json");
    writeFileSync(file, JSON.stringify({ campaign, version: ++this.version, rounds }));
    const fromMs = performance.now();
    const args = ["show", "set", file, "--campaign", campaign, "--node", this.url];
    const { code, stderr } = await hongbao(args, this.by(this.operatorClock));
    this.newBuckets.push({ fromMs, toMs: performance.now() });
    this.violations.expect(code === 0, `show set ended with ${code}: ${stderr}`);
    const apartMs = Math.abs(this.operatorClock.offsetMs - this.nodeClock.offsetMs);
    if (Math.abs(apartMs - STRAY_MS) < STRAY_SLACK_MS) return;
    this.violations.expect(
      stderr.includes("the clock of") === apartMs > STRAY_MS,
      `clocks are ${apartMs} ms apart, and the operator reads: ${stderr}`,
    );
  }

  /** Kills the node, or stops it in order; what happens `meanwhile` is over before it starts again. */
  async restartNode(isKilled: boolean, meanwhile: () => void): Promise<void> {
    if (isKilled) await this.node.kill();
    else this.violations.expect((await this.node.stop()) === 0, "the node did not stop in order");
    meanwhile();
    const fromMs = performance.now();
    await this.node.start();
    this.newBuckets.push({ fromMs, toMs: performance.now() });
  }

  async restartWorker(meanwhile: () => void): Promise<void> {
    await this.worker.kill();
    meanwhile();
    await this.worker.start(false);
  }

  async expectSoon(look: () => boolean, otherwise: string): Promise<void> {
    await until(look, SOON_MS_MAX).catch(() => this.violations.add(`${otherwise} for ${SOON_MS_MAX} ms`));
  }

  /** Everything that was opened up to now is paid in while everybody waits. */
  async expectCredited(): Promise<void> {
    const opened = this.audience.opened.size;
    await until(() => this.credited() >= opened, CREDIT_MS_MAX, 50).catch(() => {
      this.violations.add(
        `${opened} packets are opened, ${this.credited()} credited after ${CREDIT_MS_MAX} ms`,
      );
    });
  }

  /** Everybody leaves; what was seen, paid and rendered must agree, whatever finance's clock says. */
  async close(): Promise<void> {
    await this.audience.leave();
    await this.audience.emptyPocket(this.audience.pocketed);
    await this.expectCredited();
    const [, today] = this.timetable.rounds;
    if (today)
      expectPaced(this.audience.handOuts, today, PACKETS_PER_SECOND, this.newBuckets, this.violations);
    this.violations.expect(
      (await this.node.stop()) === 0,
      `the node did not stop in order: ${this.node.stderr}`,
    );
    await until(() => this.worker.stderr.includes("crediting"), START_MS_MAX);
    this.violations.expect((await this.worker.stop()) === 0, `the worker: ${this.worker.stderr}`);
    const [books, ...others] = await Promise.all([0, 24, -24].map((hours) => this.reconcile(hours)));
    this.violations.expect(
      others.every((other) => other.stdout === books?.stdout),
      "reconcile says another thing at another time",
    );
    const report = JSON.parse(books?.stdout || "{}") as {
      balanced?: boolean;
      credited?: { packets: number };
    };
    this.violations.expect(
      report.balanced === true,
      `the books do not balance: ${books?.stdout}${books?.stderr}`,
    );
    this.violations.expect(
      report.credited?.packets === this.audience.opened.size,
      `${this.audience.opened.size} packets were opened, ${report.credited?.packets} are credited`,
    );
  }

  async remove(): Promise<void> {
    await Promise.all([this.node.kill(), this.worker.kill(), this.redis.kill()]);
    for (const clock of [this.nodeClock, this.workerClock, this.operatorClock]) clock.remove();
    this.minted.remove();
  }

  private async reconcile(aheadHours: number): Promise<Ended> {
    const clock = new MovableClock();
    clock.jumpTo(aheadHours * HOUR_MS);
    try {
      return await hongbao(["reconcile", this.minted.campaign, "--json"], this.by(clock));
    } finally {
      clock.remove();
    }
  }

  private credited(): number {
    const ledger = readLedger(this.minted.epochDir.of.ledger);
    try {
      return ledger.totals().packets;
    } finally {
      ledger.close();
    }
  }

  private by(clock: MovableClock): Record<string, string> {
    const { seedsDir, keysDir, dataDir } = this.minted.roots;
    return {
      SEEDS_DIR: seedsDir,
      KEYS_DIR: keysDir,
      DATA_DIR: dataDir,
      QUEUE_URL: this.redis.url,
      ...clock.environment,
    };
  }
}
