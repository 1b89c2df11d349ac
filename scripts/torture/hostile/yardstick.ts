/**
 * What an attack's slowdown is measured with: how long honest users wait while nobody attacks.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { HonestCrowd } from "./honest-crowd.ts";

/** A calm that is so much slower than the best one is the machine's: it would let a slow attack pass. */
const RESTLESS = 3;
const CALMS_MAX = 8;

export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Slowdown extends Latency {
  readonly calmP50Ms: number;
  readonly calmP99Ms: number;
  readonly ratio: number;
}

export class Yardstick {
  lowestP99Ms = Number.POSITIVE_INFINITY;
  /** Calms that were taken again, and those that had to do though they were none. */
  repeated = 0;
  restless = 0;
  private readonly crowd: Pick<HonestCrowd, "takeLatenciesMs">;
  private readonly calmMs: number;

  /** @param calmMs how long honest users are watched for one calm */
  constructor(crowd: Pick<HonestCrowd, "takeLatenciesMs">, calmMs: number) {
    this.crowd = crowd;
    this.calmMs = calmMs;
  }

  /** Taken when the machine lets it; if it never does, no longer than a calm may be. */
  async calm(): Promise<Latency> {
    for (let tries = 1; ; tries++) {
      this.crowd.takeLatenciesMs();
      await sleep(this.calmMs);
      const calm = latency(this.crowd.takeLatenciesMs());
      this.lowestP99Ms = Math.min(this.lowestP99Ms, calm.p99Ms);
      const longestMs = rounded(RESTLESS * this.lowestP99Ms);
      if (calm.p99Ms <= longestMs) return calm;
      if (tries === CALMS_MAX) {
        this.restless++;
        return { ...calm, p99Ms: longestMs };
      }
      this.repeated++;
    }
  }
}

/** @param sortedMs what each answer took; who was not answered at all has waited for ever */
export function latency(sortedMs: readonly number[]): Latency {
  const percentile = (share: number) =>
    rounded(sortedMs[Math.floor(sortedMs.length * share)] ?? Number.POSITIVE_INFINITY);
  return { p50Ms: percentile(0.5), p99Ms: percentile(0.99) };
}

export function slowdown(calm: Latency, attacked: Latency): Slowdown {
  const ratio = Number.isFinite(calm.p99Ms) ? rounded(attacked.p99Ms / calm.p99Ms) : Number.POSITIVE_INFINITY;
  return { calmP50Ms: calm.p50Ms, calmP99Ms: calm.p99Ms, ...attacked, ratio };
}

function rounded(value: number): number {
  return Math.round(100 * value) / 100;
}
