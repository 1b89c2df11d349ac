/**
 * Time as the worker uses it: to wait. Handed in, so that tests hold the clock; a stop ends every wait at once.
 */
import { performance } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";

export interface Clock {
  /** Milliseconds on a clock that never jumps. */
  nowMs(): number;
  /** Rejects when the program is told to stop. */
  sleep(ms: number): Promise<void>;
}

export function systemClock(stop: AbortSignal): Clock {
  return {
    nowMs: () => performance.now(),
    sleep: (ms) => wait(ms, undefined, { signal: stop }),
  };
}
