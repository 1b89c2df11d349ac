import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Drbg, PURPOSE } from "../../generator/drbg.ts";
import { boundsOf, type LaneSplit, type RestRule, splitLane } from "../../generator/split.ts";

function split(lane: LaneSplit, seed = 1): Uint32Array {
  const key = Buffer.alloc(32);
  key.writeUInt32BE(seed >>> 0);
  const stream = (purpose: 2 | 3) => new Drbg(key, { purpose, shard: 0, ad: 1 });
  return splitLane(lane, stream(PURPOSE.amounts), stream(PURPOSE.order));
}

function ranged(
  rule: "uniform" | "double-mean" | "bell",
  minCents: number,
  maxCents: number,
  dev = 100,
): RestRule {
  return rule === "bell" ? { rule, minCents, maxCents, stdDevCents: dev } : { rule, minCents, maxCents };
}

const sum = (amounts: Iterable<number>) => [...amounts].reduce((a, b) => a + b, 0);
const RULES = ["uniform", "double-mean", "bell"] as const;

const possibleLane: fc.Arbitrary<LaneSplit> = fc
  .record({
    rule: fc.constantFrom(...RULES),
    packets: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 400 })),
    minCents: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 4_000_000_000 })),
    width: fc.oneof(fc.nat({ max: 3 }), fc.nat({ max: 1000 }), fc.nat({ max: 294_967_295 })),
    stdDevCents: fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 0xffff_ffff })),
    position: fc.oneof(fc.constantFrom(0, 1, 0.5), fc.double({ min: 0, max: 1, noNaN: true })),
    tiers: fc.array(
      fc.record({ cents: fc.integer({ min: 1, max: 0xffff_ffff }), count: fc.integer({ min: 1, max: 5 }) }),
      { maxLength: 3 },
    ),
  })
  .map(({ rule, packets, minCents, width, stdDevCents, position, tiers }) => {
    const tierPackets = tiers.reduce((total, { count }) => total + count, 0);
    const tierCents = tiers.reduce((total, { cents, count }) => total + cents * count, 0);
    return {
      packets: packets + tierPackets,
      cents: tierCents + packets * minCents + Math.round(packets * width * position),
      tiers,
      rest: ranged(rule, minCents, minCents + width, stdDevCents),
    };
  });

test("count, sum and bounds are exact for any possible lane, tiers included", () => {
  fc.assert(
    fc.property(possibleLane, fc.nat(), (lane, seed) => {
      const amounts = [...split(lane, seed)].sort((a, b) => a - b);
      expect(amounts).toHaveLength(lane.packets);
      expect(sum(amounts)).toBe(lane.cents);
      for (const { cents, count } of lane.tiers)
        for (let i = 0; i < count; i++) {
          const at = amounts.indexOf(cents);
          expect(at).toBeGreaterThanOrEqual(0);
          amounts.splice(at, 1);
        }
      const { minCents, maxCents } = boundsOf(lane.rest);
      for (const amount of amounts) expect(amount >= minCents && amount <= maxCents).toBe(true);
    }),
    { numRuns: 2500 },
  );
});

test("the same streams give the same amounts, other streams give others", () => {
  const lane = { packets: 500, cents: 44_400, tiers: [], rest: ranged("double-mean", 1, 2000) };
  expect(split(lane, 5)).toEqual(split(lane, 5));
  expect(split(lane, 5)).not.toEqual(split(lane, 6));
});

describe.each(RULES)("%s", (rule) => {
  test.each([
    ["one packet", 1, 77, 1, 100],
    ["one packet at the minimum", 1, 1, 1, 100],
    ["minimum = maximum", 50, 350, 7, 7],
    ["everybody the minimum", 50, 50, 1, 100],
    ["everybody the maximum", 50, 5000, 1, 100],
    ["one cent over the minimum", 50, 51, 1, 100],
    ["one cent under the maximum", 50, 4999, 1, 100],
    ["two neighbouring amounts", 50, 75, 1, 2],
    ["the largest amounts there are", 3, 3 * 0xffff_ffff - 1, 1, 0xffff_ffff],
  ])("%s", (_, packets, cents, minCents, maxCents) => {
    const amounts = split({ packets, cents, tiers: [], rest: ranged(rule, minCents, maxCents) });
    expect(sum(amounts)).toBe(cents);
  });

  test("a thousand lanes have the mean everywhere: a place says nothing about the amount", () => {
    const byPlace = Array(8).fill(0) as number[];
    const lanes = 4000;
    for (let seed = 0; seed < lanes; seed++) {
      const amounts = split({ packets: 8, cents: 8 * 100, tiers: [], rest: ranged(rule, 1, 1000, 60) }, seed);
      for (const [place, amount] of amounts.entries()) byPlace[place] = (byPlace[place] ?? 0) + amount;
    }
    // The deviation of one amount is at most 100, of the mean of 4000 of them 1.6.
    for (const total of byPlace) expect(Math.abs(total / lanes - 100)).toBeLessThan(6);
  });

  test("where the upper bound cuts, the lower end rises and the window stays around the mean", () => {
    const amounts = split({ packets: 20_000, cents: 20_000 * 80, tiers: [], rest: ranged(rule, 1, 100, 20) });
    expect(sum(amounts)).toBe(20_000 * 80);
    const low = amounts.filter((amount) => amount < 55).length;
    expect(low).toBeLessThan(rule === "double-mean" ? 400 : 20);
    // As many below the mean as above it, but for chance and the few at the end of a double mean.
    const below = amounts.filter((amount) => amount < 80).length;
    const above = amounts.filter((amount) => amount > 80).length;
    expect(Math.abs(below - above)).toBeLessThan(800);
  });
});

test("double-mean draws up to twice the average", () => {
  const amounts = split({
    packets: 50_000,
    cents: 50_000 * 888,
    tiers: [],
    rest: ranged("double-mean", 1, 20_000),
  });
  const tenths = Array(10).fill(0) as number[];
  for (const amount of amounts) {
    const tenth = Math.min(9, Math.floor(amount / 178));
    tenths[tenth] = (tenths[tenth] ?? 0) + 1;
  }
  for (const count of tenths) expect(Math.abs(count - 5000)).toBeLessThan(400);
});

test("uniform fills its whole window evenly when the mean is in the middle", () => {
  const amounts = split({
    packets: 50_000,
    cents: 50_000 * 50 + 25_000,
    tiers: [],
    rest: ranged("uniform", 1, 100),
  });
  const counts = new Map<number, number>();
  for (const amount of amounts) counts.set(amount, (counts.get(amount) ?? 0) + 1);
  expect(counts.size).toBe(100);
  for (const count of counts.values()) expect(Math.abs(count - 500)).toBeLessThan(150);
});

test("bell: two thirds within one deviation, one in twenty outside two", () => {
  const n = 50_000;
  const amounts = split({ packets: n, cents: n * 1000, tiers: [], rest: ranged("bell", 1, 1999, 150) });
  const within = (cents: number) => amounts.filter((amount) => Math.abs(amount - 1000) <= cents).length / n;
  expect(within(150)).toBeCloseTo(0.683, 1);
  expect(within(300)).toBeCloseTo(0.954, 2);
  expect(within(450)).toBeGreaterThan(0.99);
});

test("bell: a deviation far beyond the bounds is flat, and ends", () => {
  const rest = ranged("bell", 1, 9, 0xffff_ffff);
  const amounts = split({ packets: 9000, cents: 45_000, tiers: [], rest });
  const counts = new Map<number, number>();
  for (const amount of amounts) counts.set(amount, (counts.get(amount) ?? 0) + 1);
  for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(200);
});

test("tiers stand anywhere in their lane", () => {
  const places = new Set<number>();
  for (let seed = 0; seed < 300; seed++) {
    const lane = {
      packets: 10,
      cents: 8888 + 9 * 5,
      tiers: [{ cents: 8888, count: 1 }],
      rest: ranged("uniform", 1, 9),
    };
    places.add(split(lane, seed).indexOf(8888));
  }
  expect(places.size).toBe(10);
});

test("an impossible lane is a broken invariant, never a wrong sum", () => {
  for (const rule of RULES)
    for (const cents of [9, 1001])
      expect(() => split({ packets: 10, cents, tiers: [], rest: ranged(rule, 1, 100) })).toThrow();
  expect(() => split({ packets: 10, cents: 51, tiers: [], rest: { rule: "fixed", cents: 5 } })).toThrow();
  const tiers = [{ cents: 10, count: 11 }];
  expect(() => split({ packets: 10, cents: 200, tiers, rest: ranged("uniform", 1, 100) })).toThrow();
});
