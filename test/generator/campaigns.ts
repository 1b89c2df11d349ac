/**
 * Campaigns for the generator's tests: a plain one to vary, and arbitrary possible ones for properties.
 */
import fc from "fast-check";
import { type Campaign, type PlainSplit, parseCampaign, type Split } from "../../core/format/campaign.ts";

export const PLAIN = {
  campaign: "gala-2027",
  mode: "test",
  budgetCents: 8_888_800,
  packets: 10_000,
  shards: 2,
  split: { rule: "double-mean", minCents: 1, maxCents: 20_000 },
  ads: [
    { id: 1, name: "Sponsor A", weight: 3 },
    { id: 2, name: "Sponsor B", weight: 1 },
  ],
  expiresAt: "2027-02-07T00:00:00Z",
};

export function campaign(changes: Record<string, unknown> = {}): Campaign {
  return parseCampaign(JSON.stringify({ ...PLAIN, ...changes }));
}

/** A plain split and an amount a packet, such that any number of packets can have it on average. */
function possiblePlain(packets: number): fc.Arbitrary<{ split: PlainSplit; cents: number }> {
  if (packets === 0)
    return fc.constant({ split: { rule: "uniform" as const, minCents: 1, maxCents: 9 }, cents: 0 });
  const ranged = fc
    .record({
      rule: fc.constantFrom("uniform" as const, "double-mean" as const, "bell" as const),
      minCents: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 5000 })),
      width: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 200_000 })),
      stdDevCents: fc.option(fc.integer({ min: 1, max: 300_000 }), { nil: undefined }),
      position: fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true })),
    })
    .map(({ rule, minCents, width, stdDevCents, position }) => {
      const bounds = { minCents, maxCents: minCents + width };
      const cents = packets * minCents + Math.round(packets * width * position);
      const deviation = stdDevCents === undefined ? {} : { stdDevCents };
      return {
        split: rule === "bell" ? { rule, ...bounds, ...deviation } : { rule, ...bounds },
        cents,
      };
    });
  const fixed = fc.record({ cents: fc.integer({ min: 1, max: 9999 }), named: fc.boolean() }).map((drawn) => ({
    split: drawn.named ? { rule: "fixed" as const, cents: drawn.cents } : { rule: "fixed" as const },
    cents: drawn.cents * packets,
  }));
  return fc.oneof({ arbitrary: ranged, weight: 4 }, fixed);
}

/** Any split that `packets` can follow, with the cents it then needs. */
function possibleSplit(packets: number): fc.Arbitrary<{ split: Split; cents: number }> {
  const tiered = fc
    .array(
      fc.record({ cents: fc.integer({ min: 1, max: 99_999 }), count: fc.integer({ min: 1, max: 40 }) }),
      {
        minLength: 1,
        maxLength: 6,
      },
    )
    .chain((drawn) => {
      let left = packets;
      const tiers = drawn.flatMap((tier) => {
        const count = Math.min(tier.count, left);
        left -= count;
        return count > 0 ? [{ cents: tier.cents, count }] : [];
      });
      const value = tiers.reduce((sum, tier) => sum + tier.cents * tier.count, 0);
      return possiblePlain(left).map(({ split, cents }) => ({
        split: { rule: "tiers" as const, tiers, rest: split },
        cents: value + cents,
      }));
    });
  return packets === 0
    ? possiblePlain(0)
    : fc.oneof({ arbitrary: possiblePlain(packets), weight: 3 }, tiered);
}

interface DrawnAd {
  readonly name: string;
  readonly weight: number;
  readonly packets?: number;
  readonly budgetCents?: number;
  readonly split?: Split;
}

/** A campaign that can be minted: some ads share the budget, some bring packets, budget and split of their own. */
export const possibleCampaign: fc.Arbitrary<Campaign> = fc
  .record({
    sharing: fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 5 }),
    sharedPackets: fc.integer({ min: 1, max: 600 }),
    own: fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 3 }),
    shards: fc.integer({ min: 1, max: 9 }),
    seed: fc.nat(),
  })
  .chain(({ sharing, sharedPackets, own, shards, seed }) =>
    fc
      .tuple(possibleSplit(sharedPackets), ...own.map((packets) => possibleSplit(packets)))
      .map(([shared, ...pools]) => {
        const owners = pools.map(({ split, cents }, i): DrawnAd => {
          const packets = own[i] ?? 0;
          const implied = split.rule === "fixed" && split.cents !== undefined;
          return { name: `own ${i}`, weight: 1, packets, split, ...(implied ? {} : { budgetCents: cents }) };
        });
        const sharers = sharing.map((weight, i): DrawnAd => ({ name: `sharing ${i}`, weight }));
        const packets = sharedPackets + own.reduce((a, b) => a + b, 0);
        return campaign({
          packets,
          budgetCents: shared.cents + pools.reduce((sum, { cents }) => sum + cents, 0),
          shards: Math.min(shards, packets),
          split: shared.split,
          ads: turn([...sharers, ...owners], seed).map((ad, i) => ({ id: i + 1, ...ad })),
        });
      }),
  );

function turn<T>(list: readonly T[], by: number): T[] {
  const at = by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}
