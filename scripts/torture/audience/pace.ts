/**
 * How fast an audience shakes, all guests together: a bucket that holds no more than a moment's worth, so that what
 * an outage held up does not come as a burst behind it.
 */
import { setTimeout as sleep } from "node:timers/promises";

const BUCKET_MS = 100;
const WAIT_MS = 5;

export class Pace {
  /** Shakes a second; infinite: as fast as the guests are answered. */
  perSecond = Number.POSITIVE_INFINITY;
  shakes = 0;
  private filled = 0;
  private filledAtMs = performance.now();

  /** Resolves when the next shake is due, or nobody waits any longer. */
  async ready(isOpen: () => boolean): Promise<void> {
    while (isOpen() && !this.take()) await sleep(WAIT_MS);
    this.shakes++;
  }

  private take(): boolean {
    if (this.perSecond === Number.POSITIVE_INFINITY) return true;
    const nowMs = performance.now();
    const most = Math.max(1, (this.perSecond * BUCKET_MS) / 1000);
    this.filled = Math.min(most, this.filled + (this.perSecond * (nowMs - this.filledAtMs)) / 1000);
    this.filledAtMs = nowMs;
    if (this.filled < 1) return false;
    this.filled--;
    return true;
  }
}
