/**
 * A long show at 70 % of what these machines can carry, with a fault at a steady beat: kills of a node, a worker and
 * Redis, an emptied Redis, a worker and a Redis that are paused. The other node and the other worker live through all
 * of it, and what they hold in memory and in file descriptors must not grow but by what a node has to remember.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Experiment, type Outcome, Violations } from "../experiment.ts";
import { type SeededRandom, seededRandom } from "../random.ts";
import type { Kept } from "../show/kept.ts";
import { Show } from "../show/show.ts";
import { Site } from "../show/site.ts";
import { type Growth, SAMPLES, Vitals } from "../show/vitals.ts";
import { until } from "../stage/until.ts";
import { figuresOf } from "../verdict.ts";

const SHARE_OF_CAPACITY = 0.7;
const PACKETS_PER_SECOND = 40;
const GUESTS_AT_ONCE = 96;
const SITES = 2;
const START_MS_MAX = 60_000;
const BEAT_MS_MAX = 30_000;
const FAULTS_MIN = 6;
const PAUSE_MS_MAX = 8_000;
/** Of the run, in front of it: to find out what can be carried. */
const CAPACITY_SHARE = 0.2;
const CAPACITY_MS_MAX = 20_000;
/** In shorter runs memory still grows into its working size, and nothing can be said of it. */
const MEMORY_SECONDS_MIN = 900;
/** A node remembers each keyed answer and each winner, until the campaign expires: by design. */
const REMEMBERED_BYTES_PER_PACKET = 1536;
const MEMORY_MB_PER_HOUR = 60;
/** Sockets come and go with faults; a leak at each fault would be a hundred an hour and more. */
const FDS_MAX = 8;
const FAULTS = [
  "kill node",
  "kill worker",
  "kill redis",
  "flush redis",
  "pause worker",
  "pause redis",
] as const;
type Fault = (typeof FAULTS)[number];

/** Sponsors' packets fly slowly, so that most shakes win nothing, as in a show. */
const ROUNDS = [
  {
    id: "all day",
    opensAt: "2026-01-01T00:00:00Z",
    closesAt: "2098-01-01T00:00:00Z",
    ads: [1, 2],
    packetsPerSecond: PACKETS_PER_SECOND,
    hitProbability: 1,
  },
];

export const experiment: Experiment = {
  claim:
    "a show at 70 % of capacity with a fault every 30 seconds (kills, an emptied Redis, pauses) stays exact, and what its programs hold in memory and descriptors does not grow",
  trials: { unit: "seconds", short: 8, full: 1800 },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    const packets = Math.ceil((trials * (1 + CAPACITY_SHARE) + 60) * PACKETS_PER_SECOND * 1.1);
    const campaign = {
      campaign: "soak",
      packets,
      budgetCents: packets * 200,
      quota: { perUser: 5, perAd: 4 },
    };
    const show = await Show.prepare(campaign, violations);
    const soak = new Soak(show, seededRandom(seed), note);
    try {
      return await soak.run(trials);
    } finally {
      await soak.remove();
    }
  },
};

class Soak {
  private readonly show: Show;
  private readonly random: SeededRandom;
  private readonly note: (text: string) => void;
  private readonly sites: readonly Site[];
  /** The other worker is only paused. */
  private readonly mortalWorker: Kept;
  private readonly faults: Record<string, number> = {};
  private isOver = false;

  constructor(show: Show, random: SeededRandom, note: (text: string) => void) {
    this.show = show;
    this.random = random;
    this.note = note;
    this.mortalWorker = show.addWorker("mortal worker");
    this.sites = Array.from(
      { length: SITES },
      (_, shard) =>
        new Site({
          show,
          shards: [shard],
          claimsPerShard: Number.POSITIVE_INFINITY,
          guestsAtOnce: GUESTS_AT_ONCE,
          random,
          rounds: ROUNDS,
          isOver: () => this.isOver,
        }),
    );
  }

  async run(seconds: number): Promise<Outcome> {
    const { show } = this;
    await show.start();
    this.mortalWorker.start();
    const audience = Promise.all(this.sites.map((site) => site.run()));
    const capacityPerSecond = await this.measureCapacity(seconds);
    this.note(`${capacityPerSecond} shakes/s can be carried`);
    for (const site of this.sites) site.pace.perSecond = (capacityPerSecond * SHARE_OF_CAPACITY) / SITES;
    const held = await this.holdOut(seconds, audience);
    this.isOver = true;
    await audience;
    const account = await show.settle({
      nodeKills: (shard) => this.sites.reduce((sum, site) => sum + site.killsOf(shard), 0),
      rounds: ROUNDS,
    });
    return {
      trials: held.seconds,
      violations: show.violations,
      figures: {
        capacityPerSecond,
        ...held.figures,
        faults: this.faults,
        ...figuresOf(account),
        logCharsSearched: show.secrets.charsSearched,
      },
    };
  }

  /** The measured part: faults at a steady beat, while the survivors are watched. */
  private async holdOut(seconds: number, audience: Promise<unknown>) {
    const { recorder, violations, worker } = this.show;
    const before = { atMs: performance.now(), shakes: this.shakes, acknowledged: recorder.acknowledged };
    const vitals = [
      new Vitals(this.survivor.pid, this.sites[0]?.port),
      new Vitals(worker.program.pid),
    ] as const;
    const sampling = setInterval(
      () => {
        for (const one of vitals) one.sample();
      },
      (seconds * 1000) / SAMPLES,
    );
    const soldOut = audience.then(() => true);
    const heldOut = this.disturb(seconds).then(() => false);
    const isSoldOut = await Promise.race([soldOut, heldOut]).finally(() => clearInterval(sampling));
    violations.expect(!isSoldOut, "the packets were sold out before the end");
    const ranSeconds = (performance.now() - before.atMs) / 1000;
    const packetsOfNode = (recorder.acknowledged - before.acknowledged) / SITES;
    return {
      seconds: Math.round(ranSeconds),
      figures: {
        shakesPerSecond: Math.round((this.shakes - before.shakes) / ranSeconds),
        node: this.judge("the node", vitals[0], seconds, packetsOfNode),
        worker: this.judge("the worker", vitals[1], seconds, 0),
      },
    };
  }

  async remove(): Promise<void> {
    this.show.isAbandoned = true;
    await Promise.all(this.sites.map((site) => site.abandon()));
    await this.show.remove();
  }

  private get shakes(): number {
    return this.sites.reduce((sum, site) => sum + site.pace.shakes, 0);
  }

  /** The node that is never killed. */
  private get survivor() {
    const program = this.sites[0]?.serving?.program;
    if (program === undefined) throw new Error("the first site serves no more");
    return program;
  }

  /** @returns shakes a second that are answered when nothing holds the audience back */
  private async measureCapacity(seconds: number): Promise<number> {
    const warm = 10 * GUESTS_AT_ONCE;
    await until(() => this.sites.every((site) => site.pace.shakes > warm), START_MS_MAX);
    const before = { atMs: performance.now(), shakes: this.shakes };
    await sleep(Math.min(CAPACITY_MS_MAX, seconds * 1000 * CAPACITY_SHARE));
    return Math.round(((this.shakes - before.shakes) / (performance.now() - before.atMs)) * 1000);
  }

  /** A fault at every beat, each kind in turn, until the time is up. */
  private async disturb(seconds: number): Promise<void> {
    const beatMs = Math.min(BEAT_MS_MAX, (seconds * 1000) / FAULTS_MIN);
    const startedMs = performance.now();
    let rotation: Fault[] = [];
    for (let beat = 1; beat * beatMs <= seconds * 1000; beat++) {
      // The first half of a beat is for the fault and what it holds up, so a fault meets a show that flows.
      await sleep(startedMs + (beat - 0.5) * beatMs - performance.now());
      if (rotation.length === 0) rotation = this.random.shuffled<Fault>(FAULTS);
      const fault = rotation.pop() ?? "kill node";
      const pauseMs = this.random.below(Math.min(PAUSE_MS_MAX, beatMs / 2));
      await this.harm(fault, pauseMs);
      this.faults[fault] = (this.faults[fault] ?? 0) + 1;
    }
    await sleep(startedMs + seconds * 1000 - performance.now());
  }

  private async harm(fault: Fault, pauseMs: number): Promise<void> {
    const { redis, worker } = this.show;
    switch (fault) {
      case "kill node":
        return await this.sites[1]?.serving?.kill();
      case "kill worker":
        return await this.mortalWorker.kill();
      case "kill redis":
        await redis.kill();
        return await redis.start();
      case "flush redis":
        return await redis.flush();
      case "pause worker":
        process.kill(worker.program.pid, "SIGSTOP");
        await sleep(pauseMs);
        process.kill(worker.program.pid, "SIGCONT");
        return;
      case "pause redis":
        redis.freeze();
        await sleep(pauseMs);
        redis.thaw();
    }
  }

  /** @param packets handed out in the time between: what a node has to remember */
  private judge(name: string, vitals: Vitals, seconds: number, packets: number) {
    const [memory, descriptors] = [vitals.growth("mb"), vitals.growth("fds")];
    const rememberedPerHour = ((packets * REMEMBERED_BYTES_PER_PACKET) / 2 ** 20 / seconds) * 3600;
    const boundPerHour = Math.round(MEMORY_MB_PER_HOUR + rememberedPerHour);
    const isJudged = seconds >= MEMORY_SECONDS_MIN;
    const { violations } = this.show;
    violations.expect(
      !isJudged || memory.perHour <= boundPerHour,
      `${name} grows by ${memory.perHour} MB an hour, more than ${boundPerHour}`,
    );
    violations.expect(
      descriptors.last - descriptors.first <= FDS_MAX,
      `${name} opens more and more files: ${describe(descriptors)}`,
    );
    return { memoryMb: { ...memory, boundPerHour, isJudged }, fds: { ...descriptors, growthMax: FDS_MAX } };
  }
}

function describe({ first, last, perHour }: Growth): string {
  return `${first} at first, ${last} at last, ${perHour} an hour`;
}
