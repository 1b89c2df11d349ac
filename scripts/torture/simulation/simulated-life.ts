/**
 * The whole life of a campaign in one process, from one seed: a show with faults, then calm, in which everything that
 * was promised must be kept, then expiry and the books.
 */
import { openNowShow } from "../../../core/format/show.ts";
import { Violations } from "../experiment.ts";
import { type SeededRandom, seededRandom } from "../random.ts";
import { Audience } from "./audience.ts";
import { Claims } from "./claims.ts";
import { type Deck, EXPIRES_AT } from "./deck.ts";
import { EventLog } from "./event-log.ts";
import { Faults, noQueueFaults, someQueueFaults } from "./faults.ts";
import { LedgerPlace } from "./ledger-place.ts";
import { SimulatedNode } from "./node.ts";
import { Operator } from "./operator.ts";
import { SimulatedQueue } from "./queue.ts";
import { Scheduler } from "./scheduler.ts";
import type { Surroundings } from "./surroundings.ts";
import { Tallies } from "./tallies.ts";
import { SimulatedWorker } from "./worker.ts";

const STORM_MS_MAX = 50_000;
/** A forwarder asks for its ledger when it starts, and every minute: what it finds then must be sent, too. */
const ASK_MS = 130_000;
const START_AND_ASK_MS = 20_000;
const CALM_MS_MAX = 20 * 60_000;
const STOP_MS_MAX = 60_000;
const EXPIRES_AT_MS = Date.parse(EXPIRES_AT);
const START_MS = EXPIRES_AT_MS - 2 * 3_600_000;
const LOOK_MS = 1000;

export interface Lived {
  readonly violations: Violations;
  /** Hash of everything that happened, hex. */
  readonly digest: string;
  /** The last lines of the log. */
  readonly tail: string;
  readonly tallies: Tallies;
  readonly events: number;
  readonly simulatedMs: number;
}

/** @param account asked in the end, with everything stopped, whether finance agrees */
export async function live(
  deck: Deck,
  seed: number,
  account: (life: SimulatedLife) => Promise<void>,
): Promise<Lived> {
  const life = new SimulatedLife(deck, seed);
  // Of a real program this would be the end.
  const unhandled = (error: unknown) => life.world.violations.add(`nobody handles that ${String(error)}`);
  process.on("unhandledRejection", unhandled);
  try {
    await life.run();
    if (life.world.violations.count === 0) await account(life);
  } catch (error) {
    // So that the seed is named, with its last events.
    life.world.violations.add(`it broke down: ${error instanceof Error ? error.stack : String(error)}`);
  } finally {
    process.off("unhandledRejection", unhandled);
    life.world.ledger.remove();
  }
  const { violations, log, tallies, scheduler } = life.world;
  const tail = log.tail;
  return {
    violations,
    digest: log.digest(),
    tail,
    tallies,
    events: scheduler.events,
    simulatedMs: scheduler.nowMs,
  };
}

export class SimulatedLife {
  readonly world: Surroundings;
  readonly nodes: readonly SimulatedNode[];
  readonly workers: readonly SimulatedWorker[];
  private readonly audience: Audience;
  private readonly operator: Operator;
  private readonly faults: Faults;
  private isOpenTheNight = true;

  constructor(deck: Deck, seed: number) {
    const random = seededRandom(seed);
    const world = surroundings(deck, random, (user) =>
      this.nodes.flatMap((node) => node.handOuts.everGivenTo(user)),
    );
    this.world = world;
    const skewMs = random.pick([0, 0, 3000]);
    this.nodes = deck.manifest.shards.map(
      ({ shard }) => new SimulatedNode(world, shard, START_MS + random.below(2 * skewMs + 1) - skewMs),
    );
    const rate = random.pick([undefined, 20, 60]);
    this.workers = Array.from({ length: 1 + random.below(2) }, (_, i) => new SimulatedWorker(world, i, rate));
    this.operator = new Operator(world, this.nodes, START_MS);
    this.audience = new Audience(world, this.nodes, {
      users: 10 + random.below(30),
      arriveMs: 30_000,
      lost: random.pick([0, 0.05, 0.2]),
      doubled: random.pick([0, 0.05, 0.2]),
    });
    this.faults = new Faults(world, this.nodes, this.workers, () => this.operator.act());
  }

  async run(): Promise<void> {
    const { scheduler, violations, random } = this.world;
    const isBroken = () => violations.count > 0;
    for (const part of [...this.nodes, ...this.workers]) part.start();
    this.supervise();
    if (random.chance(0.7)) this.operator.openAll();
    this.audience.come();
    this.faults.begin();
    await scheduler.run(10_000 + random.below(STORM_MS_MAX), isBroken);
    const restMs = this.calm();
    const calmMs = scheduler.nowMs;
    const isCalm = () => isBroken() || (scheduler.nowMs >= calmMs + restMs && this.isSettled());
    const isOver = await scheduler.run(calmMs + CALM_MS_MAX, isCalm);
    violations.expect(isOver, `after ${CALM_MS_MAX} quiet milliseconds: ${this.unsettled()}`);
    if (isBroken()) return;
    await this.expire(isBroken);
    if (!isBroken()) await this.close();
  }

  /** @returns how long it takes at least until nodes have asked what became of their ledger */
  private calm(): number {
    this.world.log.add("world", "is calm");
    this.faults.end();
    this.operator.openAll();
    if (this.world.random.chance(0.25)) return ASK_MS;
    for (const node of this.nodes) node.kill();
    return START_AND_ASK_MS;
  }

  private async expire(isBroken: () => boolean): Promise<void> {
    const { scheduler, log } = this.world;
    log.add("world", "the campaign expires");
    for (const node of this.nodes) node.wall.jump(EXPIRES_AT_MS - START_MS);
    this.audience.comeBack();
    const isOver = () => isBroken() || this.isSettled();
    const endMs = scheduler.nowMs + CALM_MS_MAX;
    this.world.violations.expect(await scheduler.run(endMs, isOver), `after expiry: ${this.unsettled()}`);
  }

  /** Everything is stopped in order, and the ledger holds what was acknowledged. */
  private async close(): Promise<void> {
    const { scheduler, violations, ledger, log, tallies } = this.world;
    this.isOpenTheNight = false;
    for (const part of [...this.nodes, ...this.workers]) void part.stop();
    const isStopped = () => [...this.nodes, ...this.workers].every((part) => part.isDown);
    const stopped = await scheduler.run(scheduler.nowMs + STOP_MS_MAX, isStopped);
    violations.expect(stopped, "a node or a worker does not stop");
    const { credited, creditedCents, overQuota } = ledger.settle();
    tallies.count("credited packets", credited);
    tallies.count("rejected as over quota", overQuota);
    log.add("world", `credited ${credited} packets, ${creditedCents} cents; ${overQuota} over quota`);
  }

  /** Starts what is down, as a supervisor does, and restarts a node that has found two ledgers, as an engineer does. */
  private supervise(): void {
    const { scheduler, random } = this.world;
    scheduler.in(random.below(LOOK_MS), () => {
      if (!this.isOpenTheNight) return;
      for (const part of [...this.nodes, ...this.workers])
        if (part.isDown && random.chance(0.6)) part.start();
      for (const node of this.nodes) if (node.isSplit && random.chance(0.1)) void node.stop();
      this.supervise();
    });
  }

  private isSettled(): boolean {
    return this.audience.isQuiet && this.unsettled() === "";
  }

  /** What is not yet as it must be in the end. */
  private unsettled(): string {
    const late = this.nodes.flatMap(({ name, isUp, isSplit, lagBytes }) => [
      ...(isUp ? [] : [`${name} is down`]),
      ...(isSplit ? [`${name} takes its ledger for two`] : []),
      ...(lagBytes === 0 ? [] : [`${name} has ${lagBytes} bytes that no ledger has acknowledged`]),
    ]);
    return [
      ...late,
      ...this.workers.filter(({ isDown }) => isDown).map(({ name }) => `${name} is down`),
    ].join();
  }
}

function surroundings(
  deck: Deck,
  random: SeededRandom,
  everGivenTo: Surroundings["everGivenTo"],
): Surroundings {
  const scheduler = new Scheduler(random);
  const log = new EventLog(() => scheduler.nowMs);
  const tallies = new Tallies();
  const violations = new Violations();
  const claims = new Claims(deck, violations);
  const ads = deck.manifest.ads.map(({ id }) => id);
  const queueFaults = random.chance(0.7) ? someQueueFaults(random) : noQueueFaults();
  return {
    deck,
    scheduler,
    random,
    log,
    tallies,
    violations,
    claims,
    ledger: new LedgerPlace(deck, claims, violations),
    queue: new SimulatedQueue(scheduler, random, queueFaults, log, tallies),
    fallbackShow: random.chance(0.5) ? openNowShow(deck.campaign, ads, EXPIRES_AT) : undefined,
    segmentBytes: random.pick([2048, 8192, 32_768]),
    everGivenTo,
  };
}
