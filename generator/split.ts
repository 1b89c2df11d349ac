/**
 * The rules that turn a lane's cents into a lane's amounts: count exact, sum exact to the cent, every amount
 * within its bounds, integers throughout. Then the amounts are shuffled, so that a position says nothing.
 *
 * A rule draws from a window [a, b] inside the bounds whose middle is the average that is left, down to half a
 * cent: where the upper bound cuts the window, the lower end rises as far, so the expected sum stays right.
 *
 * Trusts the plan for packets·min <= cents <= packets·max, and asserts what it promises before it returns.
 */
import { invariant } from "../core/format/error.ts";
import type { Drbg } from "./drbg.ts";

export interface Tier {
  readonly cents: number;
  readonly count: number;
}

/** A rule with nothing left open: what the packets outside the tiers follow. */
export type RestRule =
  | { readonly rule: "fixed"; readonly cents: number }
  | { readonly rule: "uniform" | "double-mean"; readonly minCents: number; readonly maxCents: number }
  | {
      readonly rule: "bell";
      readonly minCents: number;
      readonly maxCents: number;
      readonly stdDevCents: number;
    };

/** What one lane splits. */
export interface LaneSplit {
  readonly packets: number;
  readonly cents: number;
  readonly tiers: readonly Tier[];
  readonly rest: RestRule;
}

interface Bounds {
  readonly minCents: number;
  readonly maxCents: number;
}

/** Even passes before the last one takes all the room there is: see `settle`. */
const EVEN_PASSES = 8;
/** Draws summed for a bell: the sum of twelve has the variance of one scaled by its range. */
const BELL_DRAWS = 12;

/**
 * @param draws the stream of the amounts
 * @param order the stream of their order
 * @returns one amount a packet, in the lane's final order
 */
export function splitLane(lane: LaneSplit, draws: Drbg, order: Drbg): Uint32Array {
  const amounts = new Uint32Array(lane.packets);
  let at = 0;
  let tierCents = 0;
  for (const tier of lane.tiers) {
    amounts.fill(tier.cents, at, at + tier.count);
    at += tier.count;
    tierCents += tier.cents * tier.count;
  }
  invariant(at <= lane.packets && tierCents <= lane.cents, "the tiers fit their lane");
  const rest = amounts.subarray(at);
  splitRest(rest, lane.cents - tierCents, lane.rest, draws);
  assertSplit(rest, lane.cents - tierCents, boundsOf(lane.rest));
  order.shuffle(amounts);
  return amounts;
}

/** The amounts that a rule may give. */
export function boundsOf(rule: RestRule): Bounds {
  return rule.rule === "fixed" ? { minCents: rule.cents, maxCents: rule.cents } : rule;
}

function splitRest(amounts: Uint32Array, cents: number, rule: RestRule, draws: Drbg): void {
  if (amounts.length === 0) return;
  switch (rule.rule) {
    case "fixed":
      amounts.fill(rule.cents);
      return;
    case "double-mean":
      doubleMean(amounts, cents, rule, draws);
      return;
    case "uniform":
      uniform(amounts, cents, rule, draws);
      return;
    case "bell":
      bell(amounts, cents, rule, rule.stdDevCents, draws);
  }
}

/**
 * Each draw is uniform between the minimum and twice the remaining average less the minimum; the last takes the
 * rest. The window's ends are never past what the packets after it need or can carry, so nothing is clamped:
 * with r cents for m >= 2 packets, 2r/m - min <= r - (m-1)·min because r >= m·min, and alike for max.
 */
function doubleMean(amounts: Uint32Array, cents: number, bounds: Bounds, draws: Drbg): void {
  let left = cents;
  for (let i = 0; i < amounts.length - 1; i++) {
    const { from, size } = windowAround(twiceMean(left, amounts.length - i), bounds);
    const amount = from + draws.below(size);
    amounts[i] = amount;
    left -= amount;
  }
  amounts[amounts.length - 1] = left;
}

/** Independent draws from one window around the mean; what their sum misses is settled in whole cents. */
function uniform(amounts: Uint32Array, cents: number, bounds: Bounds, draws: Drbg): void {
  const { from, size } = windowAround(twiceMean(cents, amounts.length), bounds);
  let missing = cents;
  for (let i = 0; i < amounts.length; i++) {
    const amount = from + draws.below(size);
    amounts[i] = amount;
    missing -= amount;
  }
  settle(amounts, missing, bounds);
}

/**
 * A normal distribution around the mean, cut to the window: draws outside are drawn again. The normal draw is a
 * sum of twelve uniform integers (Irwin-Hall), rounded at random so that its mean is exact: no logarithm whose
 * last digit differs between machines. A deviation past four half-windows is flat in the window, so it is drawn
 * as uniform; below that at least one draw in six is kept.
 */
function bell(amounts: Uint32Array, cents: number, bounds: Bounds, stdDevCents: number, draws: Drbg): void {
  const bits = bellBits(stdDevCents);
  const twice = twiceMean(cents, amounts.length);
  const { from, size } = windowAround(twice, bounds);
  let missing = cents;
  for (let i = 0; i < amounts.length; i++) {
    let amount = from;
    if (stdDevCents > 2 * size) amount = from + draws.below(size);
    else
      do amount = normal(twice, stdDevCents, bits, draws);
      while (amount < from || amount >= from + size);
    amounts[i] = amount;
    missing -= amount;
  }
  settle(amounts, missing, bounds);
}

/** Bits of each summed draw: as fine as keeps deviation·sum below 2^53. */
function bellBits(stdDevCents: number): number {
  return Math.min(28, 48 - (32 - Math.clz32(stdDevCents)));
}

/** @returns an integer around `twiceMean`/2 with the given deviation; every step is exact below 2^53. */
function normal(twiceMean: number, stdDevCents: number, bits: number, draws: Drbg): number {
  const one = 2 ** bits;
  let sum = -(BELL_DRAWS / 2) * (one - 1);
  for (let draw = 0; draw < BELL_DRAWS; draw++) sum += draws.u32() >>> (32 - bits);
  const rounding = draws.u32() >>> (32 - bits);
  const odd = twiceMean % 2;
  return (twiceMean - odd) / 2 + Math.floor(((odd * one) / 2 + stdDevCents * sum + rounding) / one);
}

/** floor(2·cents/packets), without doubling: twice the cents may exceed 2^53. */
function twiceMean(cents: number, packets: number): number {
  const rest = cents % packets;
  return 2 * ((cents - rest) / packets) + (2 * rest >= packets ? 1 : 0);
}

/** The widest window inside the bounds whose ends add up to `twiceMean`. */
function windowAround(twiceMean: number, bounds: Bounds): { from: number; size: number } {
  const from = Math.max(bounds.minCents, twiceMean - bounds.maxCents);
  return { from, size: twiceMean - 2 * from + 1 };
}

/**
 * Gives `missing` cents to the packets, or takes them away, within the bounds. Independent draws are
 * exchangeable and the lane is shuffled afterwards, so going from the front is going in random order. Each pass
 * asks every packet for an even part of what is missing; after a few, one pass takes all the room there is,
 * which suffices because packets·min <= cents <= packets·max.
 */
function settle(amounts: Uint32Array, missing: number, { minCents, maxCents }: Bounds): void {
  let left = missing;
  for (let pass = 0; pass <= EVEN_PASSES && left !== 0; pass++) {
    for (let i = 0; i < amounts.length && left !== 0; i++) {
      const amount = amounts[i] ?? 0;
      const room = left > 0 ? maxCents - amount : amount - minCents;
      const even = Math.ceil(Math.abs(left) / (amounts.length - i));
      const step = Math.min(room, Math.abs(left), pass < EVEN_PASSES ? even : room) * Math.sign(left);
      amounts[i] = amount + step;
      left -= step;
    }
  }
  invariant(left === 0, "the difference was settled");
}

function assertSplit(amounts: Uint32Array, cents: number, { minCents, maxCents }: Bounds): void {
  let sum = 0;
  for (const amount of amounts) {
    invariant(amount >= minCents && amount <= maxCents, "an amount is within its bounds");
    sum += amount;
  }
  invariant(sum === cents, "a lane's amounts add up to its cents");
}
