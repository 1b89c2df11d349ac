/**
 * Waiting for what becomes true by itself, with an end: a wait that fails says what it was still hearing.
 */
import { setTimeout as sleep } from "node:timers/promises";

const LOOK_MS = 20;

/**
 * Calls `look` until it returns something other than false or undefined and does not throw.
 * @throws the last error of `look`, or one that says how long was waited
 */
export async function until<T>(
  look: () => T | Promise<T>,
  msMax: number,
  lookMs = LOOK_MS,
): Promise<Exclude<T, false | undefined>> {
  const endMs = performance.now() + msMax;
  for (;;) {
    let failure: unknown;
    try {
      const seen = await look();
      if (seen !== false && seen !== undefined) return seen as Exclude<T, false | undefined>;
    } catch (error) {
      failure = error;
    }
    if (performance.now() >= endMs) throw failure ?? new Error(`waited ${msMax} ms for nothing`);
    await sleep(lookMs);
  }
}
