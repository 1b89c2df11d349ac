/**
 * A leaky bucket: money moves at no more than so many credits a second, smoothly.
 *
 * Credits are charged after they were made, and the next slice waits until the bucket has run empty. So only
 * credits cost time: batches that come a second time, all of it known, pass at once and cannot build up.
 */
import { BATCH_CLAIMS_MAX } from "../../core/format/claim-batch.ts";
import type { Clock } from "./clock.ts";

/** Slices a second: small enough for a smooth flow, large enough to share a sync. */
const SLICES_PER_SECOND = 10;

export class Pace {
  /** Claims that one transaction may carry. */
  readonly sliceClaims: number;
  private readonly clock: Clock;
  private readonly msPerCredit: number;
  private emptyAtMs = 0;

  /** @param rate credits a second; undefined: as fast as it goes */
  constructor(rate: number | undefined, clock: Clock) {
    this.clock = clock;
    this.msPerCredit = rate === undefined ? 0 : 1000 / rate;
    this.sliceClaims =
      rate === undefined
        ? BATCH_CLAIMS_MAX
        : Math.min(BATCH_CLAIMS_MAX, Math.max(1, Math.floor(rate / SLICES_PER_SECOND)));
  }

  /** @returns when a slice may be credited */
  async ready(): Promise<void> {
    for (let now = this.clock.nowMs(); now < this.emptyAtMs; now = this.clock.nowMs())
      await this.clock.sleep(Math.ceil(this.emptyAtMs - now));
  }

  charge(credits: number): void {
    this.emptyAtMs = Math.max(this.emptyAtMs, this.clock.nowMs()) + credits * this.msPerCredit;
  }
}
