/**
 * Random choices that follow from a seed (xoroshiro128+ of pure-rand): the same seed makes the same trial.
 */
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

export interface SeededRandom {
  /** A whole number in [0, below). */
  below(below: number): number;
  /** True in `share` of all cases, 0 to 1. */
  chance(share: number): boolean;
  pick<T>(from: readonly T[]): T;
  bytes(length: number): Uint8Array;
  /** A new order of the same things. */
  shuffled<T>(things: readonly T[]): T[];
}

/** @param seed 32 bits */
export function seededRandom(seed: number): SeededRandom {
  const generator = xoroshiro128plus(seed | 0);
  const below = (end: number) => uniformInt(generator, 0, end - 1);
  return {
    below,
    chance: (share) => below(1_000_000) < share * 1_000_000,
    pick: (from) => {
      const at = below(from.length);
      return from[at] as (typeof from)[number];
    },
    bytes: (length) => Uint8Array.from({ length }, () => below(256)),
    shuffled: (things) => {
      const left = [...things];
      for (let i = left.length - 1; i > 0; i--) {
        const j = below(i + 1);
        [left[i], left[j]] = [left[j] as (typeof left)[number], left[i] as (typeof left)[number]];
      }
      return left;
    },
  };
}
