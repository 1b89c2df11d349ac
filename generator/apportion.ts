/**
 * Largest-remainder apportionment (Hamilton's method) in exact integers: how a whole is dealt to shares that
 * cannot be cut. Every holder gets its exact quota rounded down or up, and the sum is the whole, always.
 *
 * Because a quota is only rounded to a neighbour, integer bounds that hold for the whole hold for every share:
 * n·min <= cents <= n·max for all packets together implies the same for each holder's packets.
 */
import { invariant } from "../core/format/error.ts";

/**
 * @param total a whole number to deal
 * @param weights non-negative integers; who has weight 0 gets nothing
 * @returns one share a weight; ties go to the earlier one
 */
export function apportion(total: number, weights: readonly number[]): number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  invariant(Number.isSafeInteger(total) && total >= 0, "a whole number is dealt");
  invariant(Number.isSafeInteger(sum), "the weights' sum is a safe integer");
  invariant(sum > 0 || total === 0, "somebody takes what is dealt");
  if (total === 0) return weights.map(() => 0);
  const shares: number[] = [];
  const remainders: number[] = [];
  for (const weight of weights) {
    const { quotient, remainder } = mulDiv(total, weight, sum);
    shares.push(quotient);
    remainders.push(remainder);
  }
  const left = total - shares.reduce((a, b) => a + b, 0);
  const order = remainders.map((_, i) => i).sort((a, b) => (remainders[b] ?? 0) - (remainders[a] ?? 0));
  for (const i of order.slice(0, left)) shares[i] = (shares[i] ?? 0) + 1;
  return shares;
}

/**
 * Deals packets of several tiers at once, so that ten tiers of one packet do not all land on the largest holder.
 * @param counts packets of each tier; together at most the sum of `capacities`
 * @returns per holder the packets of each tier; no holder gets more than its capacity
 */
export function apportionTiers(counts: readonly number[], capacities: readonly number[]): number[][] {
  const slots = apportion(
    counts.reduce((a, b) => a + b, 0),
    capacities,
  );
  const dealt = capacities.map(() => counts.map(() => 0));
  for (const [tier, count] of counts.entries()) {
    for (const [holder, share] of apportion(count, slots).entries()) {
      const row = dealt[holder];
      if (row !== undefined) row[tier] = share;
      slots[holder] = (slots[holder] ?? 0) - share;
    }
  }
  invariant(
    slots.every((left) => left === 0),
    "every slot holds a tier packet",
  );
  return dealt;
}

/** a·b/c in exact integers; the product may exceed 2^53. */
function mulDiv(a: number, b: number, c: number): { quotient: number; remainder: number } {
  const product = a * b;
  if (product <= Number.MAX_SAFE_INTEGER) {
    const remainder = product % c;
    return { quotient: (product - remainder) / c, remainder };
  }
  const exact = BigInt(a) * BigInt(b);
  return { quotient: Number(exact / BigInt(c)), remainder: Number(exact % BigInt(c)) };
}
