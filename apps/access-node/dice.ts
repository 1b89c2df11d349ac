/**
 * Uniform random numbers from the platform's cryptographic generator, drawn in bulk: a guess at the odds must
 * not be a way to beat them.
 */
import { randomFillSync } from "node:crypto";

export type Dice = () => number;

/** @returns a function that gives numbers in [0, 1) with 32 bits each */
export function cryptoDice(): Dice {
  const pool = new Uint32Array(1024);
  let used = pool.length;
  return () => {
    if (used === pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    return (pool[used++] ?? 0) / 0x1_0000_0000;
  };
}
