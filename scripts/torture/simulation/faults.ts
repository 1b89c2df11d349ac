/**
 * What goes wrong in one life, and when. Each seed draws which kinds of fault it has at all and how dense they are
 * (swarm testing: Groce et al., ISSTA 2012), because faults of all kinds at once hide what a few of them would show.
 */
import type { SeededRandom } from "../random.ts";
import type { Trouble } from "./disk-trouble.ts";
import type { SimulatedNode } from "./node.ts";
import type { QueueFaults } from "./queue.ts";
import type { Surroundings } from "./surroundings.ts";
import type { SimulatedWorker } from "./worker.ts";

const TROUBLES: readonly Trouble[] = ["disk full", "write error", "short write", "sync error", "read error"];

type Strike = () => void;

export class Faults {
  private readonly world: Surroundings;
  private readonly nodes: readonly SimulatedNode[];
  private readonly workers: readonly SimulatedWorker[];
  private readonly strikes: Strike[];
  private readonly pauseMsMax: number;
  private isOn = true;

  constructor(
    world: Surroundings,
    nodes: readonly SimulatedNode[],
    workers: readonly SimulatedWorker[],
    operate: Strike,
  ) {
    this.world = world;
    this.nodes = nodes;
    this.workers = workers;
    const { random } = world;
    this.strikes = this.all().filter(() => random.chance(0.5));
    this.strikes.push(operate);
    this.pauseMsMax = 1000 + random.below(8000);
  }

  /** @param isFirst a node's very first start is a moment of its own: directories and records are made */
  begin(isFirst = true): void {
    const { scheduler, random } = this.world;
    if (isFirst && random.chance(0.2)) scheduler.in(random.below(60), () => random.pick(this.strikes)());
    this.world.scheduler.in(this.world.random.below(this.pauseMsMax), () => {
      if (!this.isOn) return;
      this.world.random.pick(this.strikes)();
      this.begin(false);
    });
  }

  /** Nothing goes wrong any more, and what was away comes back. */
  end(): void {
    this.isOn = false;
    this.world.queue.faults = noQueueFaults();
    this.world.queue.comeBack();
    for (const node of this.nodes) node.trouble.end();
  }

  private all(): Strike[] {
    const { random, scheduler, queue, ledger } = this.world;
    const node = () => random.pick(this.nodes);
    return [
      () => node().kill(),
      () => node().losePower(),
      () => this.killThenLosePower(node()),
      () => this.killAtName(node()),
      () => void node().stop(),
      () => node().trouble.expect(random.pick(TROUBLES)),
      () => this.slowDown(node()),
      () => this.count("clock jumped", () => node().wall.jump(random.below(20_001) - 10_000)),
      () => random.pick(this.workers).kill(),
      () => void random.pick(this.workers).stop(),
      () => ledger.backUp(),
      () => this.restoreLedger(),
      () => this.loseLedger(),
      () => this.count("queue flushed", () => queue.flush()),
      () =>
        this.count("queue away", () => {
          queue.goAway();
          scheduler.in(random.below(15_000), () => queue.comeBack());
        }),
    ];
  }

  /** What a start read from the page cache and answered from must not be lost with it. */
  private killThenLosePower(node: SimulatedNode): void {
    const { random, scheduler } = this.world;
    node.kill();
    scheduler.in(random.below(6000), () => {
      if (this.isOn) node.losePower();
    });
  }

  /** A name that nobody synced is seen by the next start, and lost with the power. */
  private killAtName(node: SimulatedNode): void {
    const { random, scheduler } = this.world;
    node.trouble.whenNamed(() => {
      const strike = () => this.killThenLosePower(node);
      scheduler.in(random.below(3), () => this.isOn && this.count("killed behind a new name", strike));
    });
  }

  private slowDown(node: SimulatedNode): void {
    const { random, scheduler } = this.world;
    this.count("disk slow", () => {
      node.trouble.slowMsMax = 1 + random.below(80);
    });
    scheduler.in(random.below(8000), () => {
      node.trouble.slowMsMax = 1;
    });
  }

  private restoreLedger(): void {
    const { ledger, random } = this.world;
    for (const worker of this.workers) worker.kill();
    if (ledger.restore((copies) => random.pick(copies))) this.count("ledger restored", () => {});
    else ledger.backUp();
  }

  private loseLedger(): void {
    for (const worker of this.workers) worker.kill();
    if (this.world.ledger.makeNew()) this.count("ledger lost", () => {});
  }

  private count(what: string, strike: Strike): void {
    this.world.tallies.count(what);
    this.world.log.add("fault", what);
    strike();
  }
}

export function noQueueFaults(): QueueFaults {
  return {
    dropped: 0,
    duplicated: 0,
    reordered: 0,
    stalled: 0,
    ackLost: 0,
    ackRepeated: 0,
    ackLate: 0,
    refused: 0,
    forged: 0,
  };
}

export function someQueueFaults(random: SeededRandom): QueueFaults {
  const faults = noQueueFaults();
  for (const fault of Object.keys(faults) as (keyof QueueFaults)[])
    if (random.chance(0.5)) faults[fault] = random.pick([0.03, 0.1, 0.3]);
  return faults;
}
