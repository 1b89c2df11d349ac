/**
 * The live-show operator: pushes signed configs to every node until each has taken it, and now and then something
 * that no node may take.
 */
import { parseShow, type Show, type SignedShow } from "../../../core/format/show.ts";
import { signShow } from "../../../core/format/signature.ts";
import type { SimulatedNode } from "./node.ts";
import type { Surroundings } from "./surroundings.ts";

const TRIES = 20;

export class Operator {
  private readonly world: Surroundings;
  private readonly nodes: readonly SimulatedNode[];
  private readonly startMs: number;
  private version = 0;
  private show: Show | undefined;

  /** @param startMs what a right wall clock showed at the beginning */
  constructor(world: Surroundings, nodes: readonly SimulatedNode[], startMs: number) {
    this.world = world;
    this.nodes = nodes;
    this.startMs = startMs;
  }

  /** A new programme, or the old one later, or off the air. */
  act(): void {
    const { random } = this.world;
    const choice = random.below(10);
    if (choice === 0 && this.show !== undefined) this.push({ rounds: this.show.rounds, stop: true }, "stop");
    else if (choice < 4 && this.show !== undefined) this.push(this.shifted(this.show), "shift");
    else if (choice === 9) this.pushStrange();
    else this.push(this.newShow(), "set");
  }

  /** Everything on air until the campaign expires: so that the show goes on. */
  openAll(): void {
    const ads = this.world.deck.manifest.ads.map(({ id }) => id);
    const round = { id: "all", opensAt: this.at(-60_000), closesAt: this.world.deck.manifest.expiresAt, ads };
    this.push({ rounds: [{ ...round, hitProbability: 1 }], stop: false }, "set");
  }

  private push({ rounds, stop }: Pick<Show, "rounds" | "stop">, what: string): void {
    const { deck, log, tallies } = this.world;
    const version = ++this.version;
    const text = JSON.stringify({ campaign: deck.campaign, version, stop, rounds });
    const sig = signShow(deck.operator, text);
    this.show = parseShow(text);
    log.add("operator", `pushes version ${version}: ${what}`);
    tallies.count(`show ${what}`);
    const signed: SignedShow = { show: text, signatures: [{ role: "operator", sig }] };
    for (const node of this.nodes) void this.deliver(node, signed, this.show);
  }

  private async deliver(node: SimulatedNode, signed: SignedShow, show: Show | undefined): Promise<void> {
    const { random, scheduler } = this.world;
    for (let tries = 0; tries < TRIES; tries++) {
      await scheduler.passed(random.below(tries === 0 ? 50 : 1000));
      if (!node.isUp) continue;
      // A node that dies meanwhile never answers; the operator asks again.
      const answer = await Promise.race([
        node.push(signed, show),
        scheduler.passed(2000).then(() => "unavailable" as const),
      ]);
      if (answer !== "unavailable") return;
    }
  }

  /** Signed by nobody: every node must refuse it. */
  private pushStrange(): void {
    const plan = { campaign: this.world.deck.campaign, version: this.version + 1000, rounds: [], stop: true };
    const sig = Buffer.from(this.world.random.bytes(64)).toString("base64url");
    const signed: SignedShow = { show: JSON.stringify(plan), signatures: [{ role: "operator", sig }] };
    this.world.tallies.count("show of a stranger");
    for (const node of this.nodes) void this.deliver(node, signed, undefined);
  }

  /** One to three rounds; two that overlap have different sponsors, so that each hand-out has one round. */
  private newShow(): Pick<Show, "rounds" | "stop"> {
    const { random, deck } = this.world;
    const ads = deck.manifest.ads.map(({ id }) => id);
    const rounds: Show["rounds"] = [];
    let fromMs = random.below(8000) - 4000;
    const together = random.chance(0.4);
    for (const [i, ad] of random.shuffled(ads).entries()) {
      const lastsMs = 2000 + random.below(25_000);
      const round = { opensAt: this.at(fromMs), closesAt: this.at(fromMs + lastsMs) };
      const pace = random.chance(0.4) ? { packetsPerSecond: 1 + random.below(12) } : {};
      const hitProbability = random.pick([1, 1, 0.5]);
      rounds.push({ id: `r${i}`, ...round, ads: together ? [ad] : ads, ...pace, hitProbability });
      if (!together) fromMs += lastsMs + random.below(5000);
    }
    return { rounds, stop: false };
  }

  private shifted(show: Show): Pick<Show, "rounds" | "stop"> {
    const byMs = this.world.random.below(10_000);
    const later = (time: string) => new Date(Date.parse(time) + byMs).toISOString();
    const rounds = show.rounds.map((round) => ({
      ...round,
      opensAt: later(round.opensAt),
      closesAt: later(round.closesAt),
    }));
    return { rounds, stop: false };
  }

  private at(ms: number): string {
    return new Date(this.startMs + this.world.scheduler.nowMs + ms).toISOString();
  }
}
