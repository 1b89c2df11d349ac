/**
 * What an attack's slowdown is measured with: how long honest users wait while nobody attacks, and while somebody
 * does. On a shared machine their slowest percent waits for neighbours (ten times as long while these take 5 % of
 * the processors) and for the disk. So rounds in which much time was stolen are not counted, whatever they say of
 * the attack, and those that remain are taken together.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { StolenTime } from "../stage/process-watch.ts";
import type { HonestCrowd } from "./honest-crowd.ts";

/** Share of the processors' time. */
const STOLEN_MAX = 0.005;
const QUIET_ROUNDS_MIN = 2;
const CALMS_MAX = 4;
/** Calms that are so much slower than the usual one are the machine's: they would let a slow attack pass. */
const RESTLESS = 2;

/** What honest users met for a while. */
export interface Spell {
  readonly latenciesMs: readonly number[];
  /** 0 to 1: share of the processors' time that went to the machine's neighbours. */
  readonly stolen: number;
}

export interface Round {
  readonly calm: Spell;
  readonly attacked: Spell;
}

export interface Slowdown {
  readonly calmP50Ms: number;
  readonly calmP99Ms: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the p99, with a calm that is at most twice the usual one. */
  readonly ratio: number;
  /** That were counted. */
  readonly rounds: number;
  /** Of the round that had most of those counted. */
  readonly stolen: number;
}

export class Yardstick {
  private readonly crowd: Pick<HonestCrowd, "takeLatenciesMs">;
  private readonly calmMs: number;
  /** Of each calm so far. */
  private readonly calmP99sMs: number[] = [];

  /** @param calmMs how long honest users are watched for one calm */
  constructor(crowd: Pick<HonestCrowd, "takeLatenciesMs">, calmMs: number) {
    this.crowd = crowd;
    this.calmMs = calmMs;
  }

  /** Watches honest users for a while that nobody else is to disturb; again, if the machine's neighbours did. */
  async calm(): Promise<Spell> {
    for (let tries = 1; ; tries++) {
      const end = this.watch();
      await sleep(this.calmMs);
      const calm = end();
      if (calm.stolen > STOLEN_MAX && tries < CALMS_MAX) continue;
      this.calmP99sMs.push(percentile(0.99, calm.latenciesMs));
      return calm;
    }
  }

  /** Watches honest users from now on, until what it returns is called. */
  watch(): () => Spell {
    this.crowd.takeLatenciesMs();
    const stolen = new StolenTime();
    return () => ({ latenciesMs: this.crowd.takeLatenciesMs(), stolen: stolen.share });
  }

  get calms() {
    const [lowestP99Ms, usualP99Ms, highestP99Ms] = [0, 0.5, 1].map((share) =>
      percentile(share, this.calmP99sMs),
    );
    return { taken: this.calmP99sMs.length, lowestP99Ms, usualP99Ms, highestP99Ms };
  }

  /** Of the quiet ones among these rounds; if there are not two, of the two that are the most quiet. */
  slowdown(rounds: readonly Round[]): Slowdown {
    const sorted = rounds.toSorted((a, b) => stolen(a) - stolen(b));
    const quiet = sorted.filter((round, i) => i < QUIET_ROUNDS_MIN || stolen(round) <= STOLEN_MAX);
    const calmMs = quiet.flatMap(({ calm }) => calm.latenciesMs);
    const attackedMs = quiet.flatMap(({ attacked }) => attacked.latenciesMs);
    const calmP99Ms = percentile(0.99, calmMs);
    const p99Ms = percentile(0.99, attackedMs);
    const ratio = p99Ms / Math.min(calmP99Ms, RESTLESS * percentile(0.5, this.calmP99sMs));
    return {
      calmP50Ms: percentile(0.5, calmMs),
      calmP99Ms,
      p50Ms: percentile(0.5, attackedMs),
      p99Ms,
      ratio: Number.isFinite(calmP99Ms) && Number.isFinite(p99Ms) ? rounded(ratio) : Number.POSITIVE_INFINITY,
      rounds: quiet.length,
      stolen: Math.max(0, ...quiet.map(stolen)),
    };
  }

  /** Whether these rounds are enough to judge by. */
  isSettled(rounds: readonly Round[]): boolean {
    return rounds.filter((round) => stolen(round) <= STOLEN_MAX).length >= QUIET_ROUNDS_MIN;
  }
}

function stolen({ calm, attacked }: Round): number {
  return Math.max(calm.stolen, attacked.stolen);
}

/** @returns infinity if there is nothing: who is never answered waits for ever */
export function percentile(share: number, valuesMs: readonly number[]): number {
  const sorted = valuesMs.toSorted((a, b) => a - b);
  const last = sorted.length - 1;
  return rounded(sorted[Math.min(last, Math.floor(sorted.length * share))] ?? Number.POSITIVE_INFINITY);
}

function rounded(value: number): number {
  return Math.round(100 * value) / 100;
}
