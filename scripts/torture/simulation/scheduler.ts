/**
 * Simulated time: a queue of events, and one loop that runs them one after another. Events of one millisecond run in
 * an order drawn from the seed, because on real machines anything may come first.
 *
 * While a simulation runs, nothing real is waited for: no timer, file or socket. Between two events everything that
 * the first one set going (promises, immediates) runs to its end, so that the order of events is the order of all
 * things, and the same seed is the same life.
 */
import { invariant } from "../../../core/format/error.ts";
import type { SeededRandom } from "../random.ts";

interface Event {
  readonly atMs: number;
  readonly lot: number;
  /** @returns false if nothing came of it */
  readonly run: () => unknown;
}

/** Every so many events it is checked that nothing real is under way. */
const STILL_CHECK_EVENTS = 512;
const LOTS = 2 ** 30;

export class Scheduler {
  private readonly random: SeededRandom;
  private readonly heap: Event[] = [];
  private clockMs = 0;
  private ran = 0;

  constructor(random: SeededRandom) {
    this.random = random;
  }

  /** Simulated milliseconds since the beginning. */
  get nowMs(): number {
    return this.clockMs;
  }

  get events(): number {
    return this.ran;
  }

  /**
   * Runs something in `ms` milliseconds (0: soon, among all that happens now).
   * @param run returns false if nothing came of it, so that nothing is waited for
   */
  in(ms: number, run: () => unknown): void {
    const event = { atMs: this.clockMs + Math.max(0, Math.ceil(ms)), lot: this.random.below(LOTS), run };
    let at = this.heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.heap[parent];
      if (above === undefined || !isBefore(event, above)) break;
      this.heap[at] = above;
      at = parent;
    }
    this.heap[at] = event;
  }

  /** Resolves in `ms` milliseconds. */
  passed(ms: number): Promise<void> {
    return new Promise((resolve) => this.in(ms, () => resolve()));
  }

  /** Runs events until `isOver` says so, or until the time is `untilMs`. @returns whether it is over */
  async run(untilMs: number, isOver: () => boolean): Promise<boolean> {
    await settled();
    while (!isOver()) {
      const next = this.heap[0];
      if (next === undefined || next.atMs > untilMs) {
        this.clockMs = untilMs;
        return false;
      }
      this.takeFirst();
      this.clockMs = next.atMs;
      this.ran++;
      if (next.run() === false) continue;
      await settled();
      if (this.ran % STILL_CHECK_EVENTS === 0)
        invariant(realWork() === "", `nothing real is under way, but ${realWork()}`);
    }
    return true;
  }

  private takeFirst(): void {
    const last = this.heap.pop();
    if (last === undefined || this.heap.length === 0) return;
    let at = 0;
    for (;;) {
      const [left, right] = [this.heap[2 * at + 1], this.heap[2 * at + 2]];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (!isBefore(child, last)) break;
      this.heap[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    this.heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.lot < b.lot);
}

/** Promises run between immediates; an immediate that one of them asks for is run in the next round. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

/** Timers and requests to files that this process waits for. */
function realWork(): string {
  const resources = process.getActiveResourcesInfo();
  return resources.filter((name) => /^(Timeout|Immediate|FSReq)/.test(name)).join();
}
