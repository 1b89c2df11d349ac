import fc from "fast-check";
import { expect, test } from "vitest";
import { apportion, apportionTiers } from "../../generator/apportion.ts";

const weights = fc.array(fc.nat({ max: 1_000_000 }), { minLength: 1, maxLength: 30 });

test("the shares add up and each is its exact quota rounded down or up", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), weights, (total, drawn) => {
      fc.pre(drawn.some((weight) => weight > 0));
      const shares = apportion(total, drawn);
      const sum = drawn.reduce((a, b) => a + b, 0);
      expect(shares.reduce((a, b) => a + BigInt(b), 0n)).toBe(BigInt(total));
      for (const [i, share] of shares.entries()) {
        const floor = (BigInt(total) * BigInt(drawn[i] ?? 0)) / BigInt(sum);
        expect([floor, floor + 1n]).toContain(BigInt(share));
        if (drawn[i] === 0) expect(share).toBe(0);
      }
    }),
    { numRuns: 2000 },
  );
});

test("who has the larger fraction is rounded up", () => {
  expect(apportion(10, [3, 1])).toEqual([8, 2]); // 7.5 and 2.5: a tie goes to the first
  expect(apportion(10, [1, 1, 1])).toEqual([4, 3, 3]);
  expect(apportion(100, [334, 333, 333])).toEqual([34, 33, 33]);
  expect(apportion(0, [0, 0])).toEqual([0, 0]);
});

test("tiers: every tier is dealt out, nobody gets more than its capacity", () => {
  fc.assert(
    fc.property(
      weights,
      fc.array(fc.integer({ min: 1, max: 1000 }), { maxLength: 8 }),
      (capacities, drawn) => {
        let left = capacities.reduce((a, b) => a + b, 0);
        const counts = drawn.flatMap((count) => {
          const fitting = Math.min(count, left);
          left -= fitting;
          return fitting > 0 ? [fitting] : [];
        });
        const dealt = apportionTiers(counts, capacities);
        for (const [tier, count] of counts.entries())
          expect(dealt.reduce((sum, row) => sum + (row[tier] ?? 0), 0)).toBe(count);
        for (const [holder, row] of dealt.entries())
          expect(row.reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(capacities[holder] ?? 0);
      },
    ),
    { numRuns: 1000 },
  );
});

test("ten tiers of one packet do not all go to one holder", () => {
  const dealt = apportionTiers(Array(10).fill(1), [100, 100, 100, 100, 100]);
  expect(dealt.map((row) => row.reduce((a, b) => a + b, 0))).toEqual([2, 2, 2, 2, 2]);
});
