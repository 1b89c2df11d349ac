/**
 * What was counted while packets went by: packets, cents, extremes, and a histogram over bars of 1-2-5 decades
 * (1, 2-4, 5-9, 10-19, …). A tally is plain numbers, so that threads can hand it to each other.
 */
import { addCents, cents } from "../core/format/money.ts";

/** Lowest amount of each bar, ascending; the last one reaches beyond 2^32 - 1. */
const BAR_FROM = Array.from({ length: 10 }, (_, decade) => [1, 2, 5].map((step) => step * 10 ** decade))
  .flat()
  .filter((from) => from <= 0xffff_ffff);

/** The highest bar that amounts of a bit length can reach: at most three bars above the right one. */
const HIGHEST_BAR = Array.from({ length: 33 }, (_, bits) => {
  return Math.max(0, BAR_FROM.filter((from) => from < 2 ** bits).length - 1);
});

export interface Bar {
  readonly fromCents: number;
  /** inclusive */
  readonly toCents: number;
  readonly packets: number;
  readonly cents: number;
}

export interface Tally {
  packets: number;
  cents: number;
  readonly barPackets: number[];
  readonly barCents: number[];
}

export function emptyTally(): Tally {
  return { packets: 0, cents: 0, barPackets: BAR_FROM.map(() => 0), barCents: BAR_FROM.map(() => 0) };
}

export function countAmount(tally: Tally, amount: number): void {
  let bar = HIGHEST_BAR[32 - Math.clz32(amount)] ?? 0;
  while (bar > 0 && amount < (BAR_FROM[bar] ?? 0)) bar--;
  tally.packets++;
  tally.cents += amount;
  tally.barPackets[bar] = (tally.barPackets[bar] ?? 0) + 1;
  tally.barCents[bar] = (tally.barCents[bar] ?? 0) + amount;
}

/** @returns the sum of all; asserts that it is still an exact number of cents. */
export function sumTallies(tallies: readonly Tally[]): Tally {
  const sum = emptyTally();
  for (const tally of tallies) {
    sum.packets += tally.packets;
    sum.cents = addCents(cents(sum.cents), cents(tally.cents));
    for (let bar = 0; bar < BAR_FROM.length; bar++) {
      sum.barPackets[bar] = (sum.barPackets[bar] ?? 0) + (tally.barPackets[bar] ?? 0);
      sum.barCents[bar] = (sum.barCents[bar] ?? 0) + (tally.barCents[bar] ?? 0);
    }
  }
  return sum;
}

/** From the first bar that holds packets to the last, those between them included. */
export function histogram(tally: Tally): Bar[] {
  const filled = tally.barPackets.flatMap((packets, bar) => (packets > 0 ? [bar] : []));
  const [first, last] = [filled[0], filled.at(-1)];
  if (first === undefined || last === undefined) return [];
  return BAR_FROM.slice(first, last + 1).map((fromCents, i) => ({
    fromCents,
    toCents: Math.min((BAR_FROM[first + i + 1] ?? Number.POSITIVE_INFINITY) - 1, 0xffff_ffff),
    packets: tally.barPackets[first + i] ?? 0,
    cents: tally.barCents[first + i] ?? 0,
  }));
}
