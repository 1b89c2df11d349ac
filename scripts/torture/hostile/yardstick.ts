/**
 * What an attack's slowdown is measured with: how long honest users wait while nobody attacks, and while somebody
 * does. On a shared machine their slowest percent waits for its neighbours (ten times as long while these take 5 %
 * of the processors) and for the disk. So time is cut into slices, and those in or beside which a neighbour took anything
 * are not counted, whatever they say of the attack. What a neighbour took unseen spoils a round, but what the attack
 * costs is there in all of them: the middle one counts.
 */
import { stolenTicks } from "../stage/process-watch.ts";
import { until } from "../stage/until.ts";
import type { HonestCrowd } from "./honest-crowd.ts";

const SLICE_MS = 250;
/** A calm waits this many times its least length for the machine to be quiet. */
const PATIENCE = 10;
/** Calms that are so much slower than the usual one are the machine's: they would let a slow attack pass. */
const RESTLESS = 2;
/** A round says something if so much of a calm's length was quiet, before the attack and in it. */
const ROUND_QUIET = 0.5;
const ROUNDS_MIN = 3;

type Crowd = Pick<HonestCrowd, "takeLatenciesMs">;

/** What honest users met for a while, in the slices of it that the machine had for itself. */
export interface Spell {
  readonly latenciesMs: readonly number[];
  readonly quietMs: number;
}

export interface Round {
  readonly calm: Spell;
  readonly attacked: Spell;
}

/** Each of the middle round of those that say something. */
export interface Slowdown {
  readonly calmP50Ms: number;
  readonly calmP99Ms: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the p99s, with a calm that is at most twice the usual one. */
  readonly ratio: number;
  /** Those that say something, and all. */
  readonly rounds: readonly [number, number];
  /** The p99s of each that says something: of the calm, and attacked. */
  readonly p99sMs: readonly (readonly [number, number])[];
  /** Of the attack: time that was counted. */
  readonly quietMs: number;
}

interface Slice extends Spell {
  readonly isQuiet: boolean;
}

/**
 * A while that is being watched. Time that was taken is told in ticks of 10 ms: a slice in which less was taken shows
 * none, so that those on both sides of it must be quiet, too.
 */
export class Watch {
  private readonly crowd: Crowd;
  private readonly stolenTicks: () => number;
  private readonly cutting: NodeJS.Timeout;
  private readonly latenciesMs: number[] = [];
  private counted = 0;
  private last: Slice | undefined;
  private wasQuietBefore = true;
  private sinceMs = performance.now();
  private sinceTicks: number;

  /** @param ticks what the machine's neighbours have taken so far */
  constructor(crowd: Crowd, sliceMs = SLICE_MS, ticks: () => number = stolenTicks) {
    this.crowd = crowd;
    this.stolenTicks = ticks;
    this.sinceTicks = ticks();
    this.crowd.takeLatenciesMs();
    this.cutting = setInterval(() => this.cut(), sliceMs).unref();
  }

  get quietMs(): number {
    return this.counted;
  }

  end(): Spell {
    clearInterval(this.cutting);
    this.cut();
    this.count(true);
    return { latenciesMs: this.latenciesMs, quietMs: this.counted };
  }

  private cut(): void {
    const latenciesMs = this.crowd.takeLatenciesMs();
    const nowMs = performance.now();
    const ticks = this.stolenTicks();
    const isQuiet = ticks === this.sinceTicks;
    this.count(isQuiet);
    this.wasQuietBefore = this.last?.isQuiet ?? true;
    this.last = { latenciesMs, quietMs: nowMs - this.sinceMs, isQuiet };
    this.sinceMs = nowMs;
    this.sinceTicks = ticks;
  }

  /** Counts the last slice, or not, now that it is known how it went on. */
  private count(isQuietBehind: boolean): void {
    if (!this.last?.isQuiet || !this.wasQuietBefore || !isQuietBehind) return;
    this.latenciesMs.push(...this.last.latenciesMs);
    this.counted += this.last.quietMs;
  }
}

export class Yardstick {
  private readonly watch: () => Watch;
  private readonly calmMs: number;
  /** Of each calm so far. */
  private readonly calmP99sMs: number[] = [];

  /** @param calmMs how long honest users are watched for one calm, at least */
  constructor(watch: () => Watch, calmMs: number) {
    this.watch = watch;
    this.calmMs = calmMs;
  }

  /**
   * Watches honest users for a while that nobody else is to disturb; longer, if the machine's neighbours do.
   * @param ms as long as the attack takes: what happens once in a while is to happen in a calm as often
   */
  async calm(ms = this.calmMs): Promise<Spell> {
    const watch = this.watch();
    const [startedMs, quietMs] = [performance.now(), Math.min(ms, this.calmMs)];
    const isOver = () => performance.now() - startedMs >= ms && watch.quietMs >= quietMs;
    // One that never was quiet enough counts for as much as it was.
    await until(isOver, Math.max(ms, PATIENCE * this.calmMs)).catch(() => {});
    const calm = watch.end();
    if (calm.quietMs > 0) this.calmP99sMs.push(p99(calm));
    return calm;
  }

  get calms() {
    const [lowestP99Ms, usualP99Ms, highestP99Ms] = [0, 0.5, 1].map((share) =>
      percentile(share, this.calmP99sMs),
    );
    return { taken: this.calmP99sMs.length, lowestP99Ms, usualP99Ms, highestP99Ms };
  }

  slowdown(rounds: readonly Round[]): Slowdown {
    const telling = this.telling(rounds);
    const calms = telling.map(({ calm }) => calm);
    const attacks = telling.map(({ attacked }) => attacked);
    const calmP99Ms = middle(0.99, calms);
    const p99Ms = middle(0.99, attacks);
    const ratio = p99Ms / Math.min(calmP99Ms, RESTLESS * percentile(0.5, this.calmP99sMs));
    return {
      calmP50Ms: middle(0.5, calms),
      calmP99Ms,
      p50Ms: middle(0.5, attacks),
      p99Ms,
      ratio: Number.isFinite(calmP99Ms) && Number.isFinite(p99Ms) ? rounded(ratio) : Number.POSITIVE_INFINITY,
      rounds: [telling.length, rounds.length],
      p99sMs: telling.map(({ calm, attacked }) => [p99(calm), p99(attacked)]),
      quietMs: Math.round(attacks.reduce((sum, { quietMs }) => sum + quietMs, 0)),
    };
  }

  isSettled(rounds: readonly Round[]): boolean {
    return this.telling(rounds).length >= ROUNDS_MIN;
  }

  private telling(rounds: readonly Round[]): readonly Round[] {
    const enoughMs = ROUND_QUIET * this.calmMs;
    return rounds.filter(({ calm, attacked }) => Math.min(calm.quietMs, attacked.quietMs) >= enoughMs);
  }
}

function p99(spell: Spell): number {
  return percentile(0.99, spell.latenciesMs);
}

function middle(share: number, spells: readonly Spell[]): number {
  return percentile(
    0.5,
    spells.map(({ latenciesMs }) => percentile(share, latenciesMs)),
  );
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
