/**
 * Tokens made without the mint: millions of mutated ones, and every one that differs from a genuine token in one bit,
 * are shown to a node (with the pass of the token they were made of) and to a credit worker. Nothing may open.
 */
import { encodeToken, sealToken, TOKEN_BYTES, tokenOpener } from "../../../core/format/token.ts";
import { type Experiment, type Outcome, Violations } from "../experiment.ts";
import { type Held, NodeDoor, WorkerDoor } from "../forgery/doors.ts";
import { lootNode, lootSeeds, type NodeLoot } from "../forgery/loot.ts";
import { MintsDir } from "../forgery/mints.ts";
import { Genuine, MUTATIONS, oneBitAway, type Pool, RESPELLINGS } from "../forgery/mutations.ts";
import { type QuietNode, serveQuietly } from "../forgery/quiet-node.ts";
import { type SeededRandom, seededRandom } from "../random.ts";
import type { Minted } from "../stage/minted.ts";

/** Of all mutated tokens: a node opens one by one, a worker in bulk. */
const SHARE_AT_NODE = 0.4;
const SHARE_RESPELLED = 0.2;
const TRIALS_PER_FLIPPED_TOKEN = 10_000;
const PASSES = 500;
const CONTROLS = 200;

export const experiment: Experiment = {
  claim:
    "no mutated token opens, at a node or at a credit worker, and none that is one bit away from a genuine one",
  trials: { unit: "mutated tokens", short: 100_000, full: 10_000_000 },
  run: async ({ trials, seed, note }) => {
    const dir = new MintsDir();
    let node: QuietNode | undefined;
    try {
      const earlier = await dir.mint();
      const minted = await dir.mint();
      const other = await dir.mint({ campaign: "other" });
      node = await serveQuietly(minted);
      const forger = await Forger.of(node, minted, [earlier, other], seed);
      await forger.control();
      await forger.tryAtNode(Math.round(trials * SHARE_AT_NODE), note);
      forger.tryAtWorker(trials - Math.round(trials * SHARE_AT_NODE), note);
      await forger.tryFlips(Math.min(1000, Math.max(1, Math.floor(trials / TRIALS_PER_FLIPPED_TOKEN))));
      await forger.control();
      return forger.outcome();
    } finally {
      await node?.stop();
      dir.remove();
    }
  },
};

class Forger {
  private readonly violations = new Violations();
  private readonly kinds: Record<string, number> = {};
  private readonly random: SeededRandom;
  private readonly door: NodeDoor;
  private readonly worker: WorkerDoor;
  private readonly pool: Pool;
  private readonly held: readonly Held[];
  private readonly genuine: Genuine;
  private mutated = 0;
  private bitFlips = 0;
  private opened = 0;

  private constructor(door: NodeDoor, worker: WorkerDoor, pool: Pool, seed: number) {
    this.random = seededRandom(seed);
    this.door = door;
    this.worker = worker;
    this.pool = pool;
    this.held = this.random
      .shuffled(pool.own)
      .slice(0, PASSES)
      .map((token) => door.hold(token));
    this.genuine = new Genuine(pool.own);
  }

  static async of(node: QuietNode, minted: Minted, others: readonly Minted[], seed: number): Promise<Forger> {
    const loot = await lootNode(minted.epochDir, 0);
    const own = await lootSeeds(minted.epochDir, 0);
    const foreign = [...(await lootSeeds(minted.epochDir, 1)), ...sealedForElsewhere(loot, own)];
    for (const other of others) foreign.push(...(await lootSeeds(other.epochDir, 0)));
    const worker = await WorkerDoor.of(minted.epochDir, 0);
    return new Forger(new NodeDoor(node, loot), worker, { own, foreign }, seed);
  }

  /** What was not mutated opens, before and afterwards: otherwise nothing was shown. */
  async control(): Promise<void> {
    const some = this.held.slice(0, CONTROLS);
    for (const held of some)
      if (await this.door.pays(held)) this.opened++;
      else this.violations.add(`a genuine token did not open at the node: ${held.text}`);
    const taken = this.worker.takes(some.map(({ token }) => token)).length;
    this.opened += taken;
    this.violations.expect(
      taken === some.length,
      `the worker took ${taken} of ${some.length} genuine tokens`,
    );
  }

  async tryAtNode(trials: number, note: (text: string) => void): Promise<void> {
    for (let i = 0; i < trials; i++) {
      if (i % 500_000 === 499_999) note(`${i + 1} tokens at the node`);
      const held = this.random.pick(this.held);
      const { kind, text } = this.random.chance(SHARE_RESPELLED)
        ? this.respelled(held)
        : this.mutatedText(held);
      this.count(kind);
      if (await this.door.takes(text, held.pass))
        this.violations.add(`the node took ${kind}: ${JSON.stringify(text)}`);
    }
  }

  tryAtWorker(trials: number, note: (text: string) => void): void {
    for (let done = 0; done < trials; ) {
      const batch = Array.from({ length: Math.min(this.worker.width, trials - done) }, () => {
        const { kind, token } = this.mutate(this.random.pick(this.pool.own));
        this.count(kind);
        return token;
      });
      for (const token of this.worker.takes(batch))
        this.violations.add(`the worker took ${encodeToken(token)}`);
      done += batch.length;
      if (done % 1_000_000 === 0) note(`${done} tokens at the worker`);
    }
  }

  /** All 360 of each token, at both doors. */
  async tryFlips(tokens: number): Promise<void> {
    for (const token of this.random.shuffled(this.pool.own).slice(0, tokens)) {
      const held = this.door.hold(token);
      const others = [...oneBitAway(token)];
      this.bitFlips += others.length;
      for (const [bit, other] of others.entries())
        if (await this.door.takes(encodeToken(other), held.pass))
          this.violations.add(`the node took ${held.text} with bit ${bit} flipped`);
      for (const other of this.worker.takes(others))
        this.violations.add(`the worker took ${encodeToken(other)}, one bit away from ${held.text}`);
    }
  }

  outcome(): Outcome {
    const { violations, bitFlips, opened, kinds } = this;
    const flippedTokens = bitFlips / (TOKEN_BYTES * 8);
    return {
      trials: this.mutated,
      violations,
      figures: { flippedTokens, bitFlips, genuineOpened: opened, kinds },
    };
  }

  private count(kind: string): void {
    this.mutated++;
    this.kinds[kind] = (this.kinds[kind] ?? 0) + 1;
  }

  private mutatedText({ token }: Held): { kind: string; text: string } {
    const mutated = this.mutate(token);
    return { kind: mutated.kind, text: encodeToken(mutated.token) };
  }

  /** Until it is no token that was minted: fields of one and the same token may be swapped, bits flipped back. */
  private mutate(token: Buffer): { kind: string; token: Buffer } {
    for (;;) {
      const [kind, mutation] = this.random.pick(Object.entries(MUTATIONS));
      const copy = Buffer.from(token);
      mutation(copy, this.pool, this.random);
      if (!this.genuine.has(encodeToken(copy))) return { kind, token: copy };
    }
  }

  private respelled({ text }: Held): { kind: string; text: string } {
    for (;;) {
      const [kind, respelling] = this.random.pick(Object.entries(RESPELLINGS));
      const other = respelling(text, this.random);
      if (!this.genuine.has(other)) return { kind, text: other };
    }
  }
}

/** Genuine packets, sealed under the shard's own key, but for another mode, campaign, epoch or shard. */
function sealedForElsewhere({ keys, scope }: NodeLoot, own: readonly Buffer[]): Buffer[] {
  const open = tokenOpener(keys.token, scope);
  const elsewhere = [
    { ...scope, mode: "live" as const },
    { ...scope, campaign: "gala2" },
    { ...scope, epoch: scope.epoch + 1 },
    { ...scope, shard: scope.shard + 1 },
  ];
  return own.slice(0, 100).flatMap((token) => {
    const packet = open(token);
    if (packet === undefined) throw new Error("a minted token does not open");
    return elsewhere.map((place) => Buffer.from(sealToken(keys.token, place, packet)));
  });
}
