/**
 * A token bucket: a round's release rate on this node. It fills with time and holds at most 50 ms worth (at
 * least two packets, or fractions would be lost between two shakes): the opening side never sees more than
 * rate x time + that, and a quiet minute is not paid out as a burst. Monotonic milliseconds, so that wall clock
 * jumps change nothing.
 */
const BURST_SECONDS = 0.05;
const BURST_PACKETS_MIN = 2;

export class Pacer {
  private readonly perSecond: number;
  private readonly capacity: number;
  private filledAtMs: number;
  private packets: number;

  constructor(perSecond: number, nowMs: number) {
    this.perSecond = perSecond;
    this.capacity = Math.max(BURST_PACKETS_MIN, perSecond * BURST_SECONDS);
    this.filledAtMs = nowMs;
    this.packets = 1;
  }

  /** True if a packet may leave at `nowMs`; it is not counted before `spend`. */
  allows(nowMs: number): boolean {
    const elapsedSeconds = Math.max(0, nowMs - this.filledAtMs) / 1000;
    this.packets = Math.min(this.capacity, this.packets + elapsedSeconds * this.perSecond);
    this.filledAtMs = nowMs;
    return this.packets >= 1;
  }

  spend(): void {
    this.packets -= 1;
  }
}
