/**
 * kill -9, in a random rotation, of nodes, worker, Redis and generator, while an audience shakes and opens. A
 * thousand claims are acknowledged for every kill, and each kill comes at a claim, not at a time: a slow machine
 * makes a long run, not an easy one.
 */
import { join } from "node:path";
import { type Experiment, type Outcome, Violations } from "../experiment.ts";
import { type SeededRandom, seededRandom } from "../random.ts";
import { OtherMint } from "../show/other-mint.ts";
import { Show } from "../show/show.ts";
import { Site } from "../show/site.ts";
import { until } from "../stage/until.ts";
import { figuresOf } from "../verdict.ts";

const CLAIMS_PER_KILL = 1000;
/** Some guests open a packet twice: so much more is asked for, that enough are acknowledged once. */
const MARGIN = 1.02;
const SITES = 2;
const CLAIMS_PER_SHARD_MAX = 25_000;
const SHARDS_PER_SITE_MIN = 2;
const GUESTS_AT_ONCE = 96;
const CLAIM_MS_MAX = 300_000;
const TARGETS = ["node", "worker", "node", "redis", "generator"] as const;
type Target = (typeof TARGETS)[number];

export const experiment: Experiment = {
  claim:
    "nodes, worker, Redis and generator are killed with SIGKILL under load: no packet goes to two users, no acknowledged claim is lost or credited twice, no crash burns more than one lease, the books balance, and no secret is in a log",
  trials: { unit: "kills", short: 5, full: 1000 },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    const size = sizeOf(trials);
    note(`minting ${size.campaign.packets} packets in ${size.shards} shards`);
    const show = await Show.prepare(size.campaign, violations);
    const attack = new KillingSpree(show, size, seededRandom(seed), note);
    try {
      return await attack.run(trials);
    } finally {
      await attack.remove();
    }
  },
};

interface Size {
  readonly claims: number;
  readonly claimsPerShard: number;
  readonly shards: number;
  readonly campaign: { readonly packets: number };
}

/** One shard a site is spare: one may be sold out early, by crashes that burn and guests who give up. */
function sizeOf(kills: number): Size {
  const claims = Math.ceil(kills * CLAIMS_PER_KILL * MARGIN);
  const claimsPerShard = Math.min(CLAIMS_PER_SHARD_MAX, Math.ceil(claims / SITES / SHARDS_PER_SITE_MIN));
  const shards = SITES * (Math.ceil(claims / SITES / claimsPerShard) + 1);
  const packets = shards * (Math.ceil(claimsPerShard * 1.15) + 1500);
  const campaign = {
    campaign: "kill",
    packets,
    budgetCents: packets * 200,
    shards,
    quota: { perUser: 5, perAd: 4 },
  };
  return { claims, claimsPerShard, shards, campaign };
}

class KillingSpree {
  private readonly show: Show;
  private readonly random: SeededRandom;
  private readonly note: (text: string) => void;
  private readonly otherMint: OtherMint;
  private readonly sites: readonly Site[];
  private readonly kills: Record<Target, number> = { node: 0, worker: 0, redis: 0, generator: 0 };
  /** Kills of the worker beyond the rotation: one whenever a node's claims are all acknowledged. */
  private lastBlows = 0;
  private isKilling = true;
  /** A mint is killed beside the others, one at a time. */
  private minting: Promise<void> = Promise.resolve();

  constructor(show: Show, size: Size, random: SeededRandom, note: (text: string) => void) {
    this.show = show;
    this.random = random;
    this.note = note;
    this.otherMint = new OtherMint(join(show.minted.roots.dataDir, "..", "other"), random, show.violations);
    this.sites = Array.from({ length: SITES }, (_, site) => {
      const shards = Array.from({ length: size.shards / SITES }, (_, i) => i * SITES + site);
      return new Site({
        show,
        shards,
        claimsPerShard: size.claimsPerShard,
        guestsAtOnce: GUESTS_AT_ONCE,
        random,
        // Had the worker acknowledged anything before its commit, this would lose it.
        onPaidIn: async () => {
          this.lastBlows++;
          await show.worker.kill();
        },
        isOver: () => !this.isKilling && show.recorder.acknowledged >= size.claims,
      });
    });
  }

  async run(trials: number): Promise<Outcome> {
    const { recorder, secrets, violations } = this.show;
    await this.otherMint.prepare();
    await this.show.start();
    const startedMs = performance.now();
    const audience = Promise.all(this.sites.map((site) => site.run()));
    await Promise.race([audience, this.killAll(trials)]);
    this.isKilling = false;
    await Promise.all([audience, this.minting.then(() => this.otherMint.finish())]);
    const seconds = (performance.now() - startedMs) / 1000;
    this.note(`${recorder.acknowledged} claims in ${Math.round(seconds)} s; now the accounts`);
    const account = await this.show.settle({ nodeKills: (shard) => this.killsOf(shard) });
    const done = Object.values(this.kills).reduce((sum, kills) => sum + kills, 0);
    violations.expect(done === trials, `${done} of ${trials} kills: the packets were sold out before`);
    violations.expect(
      account.acknowledged >= trials * CLAIMS_PER_KILL,
      `${account.acknowledged} claims were acknowledged, too few`,
    );
    return {
      trials: done,
      violations,
      figures: {
        kills: this.kills,
        lastBlows: this.lastBlows,
        mintsCompared: this.otherMint.compared,
        ...figuresOf(account),
        claimsPerSecond: Math.round(account.acknowledged / seconds),
        logCharsSearched: secrets.charsSearched,
      },
    };
  }

  async remove(): Promise<void> {
    this.show.isAbandoned = true;
    await Promise.all(this.sites.map((site) => site.abandon()));
    await this.show.remove();
  }

  private killsOf(shard: number): number {
    return this.sites.reduce((sum, site) => sum + site.killsOf(shard), 0);
  }

  /** Each kill comes at a claim of its own thousand. */
  private async killAll(trials: number): Promise<void> {
    let rotation: Target[] = [];
    for (let kill = 0; kill < trials; kill++) {
      const at = (kill + this.random.below(1000) / 1000) * CLAIMS_PER_KILL;
      await until(() => this.show.recorder.acknowledged >= at, CLAIM_MS_MAX, 5);
      if (rotation.length === 0) rotation = this.random.shuffled<Target>(TARGETS);
      const target = rotation.pop() ?? "node";
      await this.kill(target);
      this.kills[target]++;
      if (kill % 50 === 49) this.note(`${kill + 1} kills, ${this.show.recorder.acknowledged} claims`);
    }
  }

  private async kill(target: Target): Promise<void> {
    const { redis, worker } = this.show;
    if (target === "worker") await worker.kill();
    else if (target === "generator") this.minting = this.minting.then(() => this.otherMint.kill());
    else if (target === "redis") {
      await redis.kill();
      await redis.start();
    } else {
      // Between two shards a site has no node for a moment.
      const serving = await until(() => this.random.pick(this.sites).serving, CLAIM_MS_MAX, 5);
      await serving.kill();
    }
  }
}
