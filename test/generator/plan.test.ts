import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Campaign } from "../../core/format/campaign.ts";
import { HongbaoError } from "../../core/format/error.ts";
import { makePlan, planHash } from "../../generator/plan.ts";
import { boundsOf } from "../../generator/split.ts";
import { campaign, PLAIN, possibleCampaign } from "./campaigns.ts";

const sumOf = (rows: readonly { packets: number; cents: number }[]) =>
  rows.reduce((sum, row) => ({ packets: sum.packets + row.packets, cents: sum.cents + row.cents }), {
    packets: 0,
    cents: 0,
  });

function refusal(changes: Record<string, unknown>): string {
  try {
    makePlan(campaign(changes));
  } catch (error) {
    if (error instanceof HongbaoError && error.code === "invalid_campaign") return error.message;
    throw error;
  }
  throw new Error("the campaign was not refused");
}

test("any possible campaign adds up: lanes, shards, ads, tiers, bounds", () => {
  fc.assert(
    fc.property(possibleCampaign, (drawn) => {
      const plan = makePlan(drawn);
      const lanes = plan.shards.flatMap((shard) => shard.lanes);
      const total = { packets: drawn.packets, cents: drawn.budgetCents };
      expect(sumOf(lanes)).toEqual(total);
      expect(sumOf(plan.shards)).toEqual(total);
      expect(sumOf(plan.ads)).toEqual(total);
      expect(plan.shards).toHaveLength(drawn.shards);
      const sizes = plan.shards.map(({ packets }) => packets);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      for (const shard of plan.shards)
        expect(sumOf(shard.lanes)).toEqual({ packets: shard.packets, cents: shard.cents });
      for (const lane of lanes) {
        const tiers = { packets: 0, cents: 0 };
        for (const { cents, count } of lane.tiers) {
          tiers.packets += count;
          tiers.cents += cents * count;
        }
        const { minCents, maxCents } = boundsOf(lane.rest);
        const rest = lane.packets - tiers.packets;
        expect(lane.packets).toBeGreaterThan(0);
        expect(rest).toBeGreaterThanOrEqual(0);
        expect(lane.cents - tiers.cents).toBeGreaterThanOrEqual(rest * minCents);
        expect(lane.cents - tiers.cents).toBeLessThanOrEqual(rest * maxCents);
      }
      checkAds(drawn, plan);
    }),
    { numRuns: 2000 },
  );
});

function checkAds(drawn: Campaign, plan: ReturnType<typeof makePlan>): void {
  expect(plan.ads.map(({ id }) => id)).toEqual(drawn.ads.map(({ id }) => id));
  for (const [i, ad] of drawn.ads.entries()) {
    const planned = plan.ads[i];
    const own = plan.shards.map(({ lanes }) => lanes.find((lane) => lane.ad === ad.id)?.packets ?? 0);
    expect(sumOf(plan.shards.flatMap(({ lanes }) => lanes.filter((lane) => lane.ad === ad.id)))).toEqual({
      packets: planned?.packets,
      cents: planned?.cents,
    });
    expect(Math.max(...own) - Math.min(...own)).toBeLessThanOrEqual(1);
    if (ad.packets !== undefined) expect(planned?.packets).toBe(ad.packets);
    if (ad.budgetCents !== undefined) expect(planned?.cents).toBe(ad.budgetCents);
    if (ad.split?.rule === "tiers") checkTiers(ad.split.tiers, plan, [ad.id]);
  }
  const sharing = drawn.ads.filter((ad) => ad.split === undefined).map(({ id }) => id);
  if (drawn.split.rule === "tiers") checkTiers(drawn.split.tiers, plan, sharing);
}

function checkTiers(
  tiers: readonly { cents: number; count: number }[],
  plan: ReturnType<typeof makePlan>,
  ads: readonly number[],
): void {
  const dealt = new Map<number, number>();
  for (const lane of plan.shards.flatMap(({ lanes }) => lanes))
    if (ads.includes(lane.ad))
      for (const { cents, count } of lane.tiers) dealt.set(cents, (dealt.get(cents) ?? 0) + count);
  const wanted = new Map<number, number>();
  for (const { cents, count } of tiers) wanted.set(cents, (wanted.get(cents) ?? 0) + count);
  expect(dealt).toEqual(wanted);
}

test("lanes stand in the campaign's order of ads", () => {
  const ads = [
    { id: 9, name: "last first" },
    { id: 2, name: "second" },
  ];
  for (const { lanes } of makePlan(campaign({ ads })).shards)
    expect(lanes.map(({ ad }) => ad)).toEqual([9, 2]);
});

test("first prizes are spread over shards and ads", () => {
  const split = {
    rule: "tiers",
    tiers: [{ cents: 100_000, count: 4 }],
    rest: { rule: "uniform", minCents: 1, maxCents: 2000 },
  };
  const ads = [1, 2].map((id) => ({ id, name: `ad ${id}` }));
  const plan = makePlan(campaign({ split, ads }));
  for (const { lanes } of plan.shards)
    expect(lanes.map(({ tiers }) => tiers)).toEqual([
      [{ cents: 100_000, count: 1 }],
      [{ cents: 100_000, count: 1 }],
    ]);
  const two = makePlan(campaign({ ads, split: { ...split, tiers: [{ cents: 100_000, count: 2 }] } }));
  expect(two.shards.map(({ lanes }) => lanes.filter(({ tiers }) => tiers.length > 0).length)).toEqual([1, 1]);
});

test("ads with their own numbers, the rest by weight", () => {
  const ads = [
    { id: 1, name: "fixed", packets: 100, split: { rule: "fixed", cents: 188 } },
    { id: 2, name: "own budget", packets: 1000, budgetCents: 500_000 },
    { id: 3, name: "A", weight: 2 },
    { id: 4, name: "B", weight: 1 },
    { id: 5, name: "own rule", weight: 1, split: { rule: "uniform", minCents: 1, maxCents: 5000 } },
  ];
  const plan = makePlan(campaign({ ads }));
  expect(plan.ads.map(({ packets, cents }) => [packets, cents])).toEqual([
    [100, 18_800],
    [1000, 500_000],
    [4450, 4_185_000],
    [2225, 2_092_500],
    [2225, 2_092_500],
  ]);
});

test("a campaign's tiers go to the ads that share its budget; an own budget follows the rest rule", () => {
  const split = {
    rule: "tiers",
    tiers: [{ cents: 8888, count: 3 }],
    rest: { rule: "uniform", minCents: 1, maxCents: 2000 },
  };
  const own = { id: 2, name: "own", packets: 100, budgetCents: 50_000 };
  const plan = makePlan(campaign({ split, ads: [{ id: 1, name: "A" }, own] }));
  const lanes = plan.shards.flatMap((shard) => shard.lanes);
  expect(lanes.filter(({ ad }) => ad === 2).flatMap(({ tiers }) => tiers)).toEqual([]);
  expect(lanes.flatMap(({ tiers }) => tiers).reduce((sum, { count }) => sum + count, 0)).toBe(3);
  expect(refusal({ split, ads: [{ ...own, packets: 10_000, budgetCents: 8_888_800 }] })).toBe(
    "the campaign's tiers reach no ad, because every ad has a budget or a split of its own: give ad 2 the tiers as its split",
  );
});

test("an ad whose weight is too light gets no packet, and that is not an error", () => {
  const ads = [
    { id: 1, name: "A", weight: 1_000_000 },
    { id: 2, name: "B", weight: 1 },
  ];
  expect(makePlan(campaign({ ads })).ads.map(({ packets }) => packets)).toEqual([10_000, 0]);
});

describe("refusals give the reason and the nearest possible numbers", () => {
  const range = { rule: "uniform", minCents: 100, maxCents: 200 };
  const tiers = (count: number, cents = 8888) => ({ rule: "tiers", tiers: [{ cents, count }], rest: range });
  test.each([
    [
      { budgetCents: 999_999, split: range },
      "the campaign: 10000 packets of at least 100 cents need at least 1000000 cents, the budget is 999999: raise budgetCents to 1000000, or lower packets to 9999, or lower minCents to 99",
    ],
    [
      { budgetCents: 2_000_001, split: range },
      "the campaign: 10000 packets of at most 200 cents can carry at most 2000000 cents, the budget is 2000001: lower budgetCents to 2000000, or raise packets to 10001, or raise maxCents to 201",
    ],
    [{ split: { ...range, minCents: 300 } }, "the campaign has minCents 300 above maxCents 200: swap them"],
    [
      { split: { rule: "fixed", cents: 88 } },
      "the campaign: 10000 packets of 88 cents are 880000 cents, the budget is 8888800: set budgetCents to 880000",
    ],
    [
      { split: { rule: "fixed", cents: 8 }, budgetCents: 40_000 },
      "the campaign: 10000 packets of 8 cents are 80000 cents, the budget is 40000: set budgetCents to 80000, or set packets to 5000, or set the amount to 4 cents",
    ],
    [
      { split: { rule: "fixed" } },
      "the campaign: 10000 packets cannot share their cents equally, the budget is 8888800: lower budgetCents to 8880000, or raise budgetCents to 8890000",
    ],
    [
      { split: { rule: "fixed" }, budgetCents: 9999 },
      "the campaign: 10000 packets cannot share their cents equally, the budget is 9999: raise budgetCents to 10000",
    ],
    [
      { split: tiers(10_001) },
      "the tiers of the campaign hold 10001 packets, but it has 10000: raise packets to 10001, or lower the tiers' counts",
    ],
    [
      { split: tiers(1000) },
      "the tiers of the campaign are worth 8888000 cents and its 9000 other packets at least 900000, but it has 8888800: raise budgetCents to 9788000, or lower the tiers",
    ],
    [
      { split: tiers(10_000, 100) },
      "the tiers of the campaign take all 10000 packets and are worth 1000000 cents, but it has 8888800: lower budgetCents to 1000000, or leave packets to the rest",
    ],
    [
      { split: tiers(10), budgetCents: 9_000_000 },
      "the campaign: 9990 packets beside the tiers of at most 200 cents can carry at most 1998000 cents, the budget is 8911120 for them: lower budgetCents to 2086880, or raise packets to 44566, or raise maxCents to 893",
    ],
    [
      { shards: 10_001 },
      "10000 packets cannot fill 10001 shards: lower shards to 10000, or raise packets to 10001",
    ],
    [
      { packets: 10_000_000_000, budgetCents: 9_000_000_000_000 },
      "a shard can hold 4294967295 packets, 10000000000 in 2 shards are more: raise shards to 3",
    ],
    [
      {
        shards: 50_000,
        packets: 1_000_000,
        ads: Array.from({ length: 6 }, (_, i) => ({ id: i + 1, name: "x" })),
      },
      "6 ads in 50000 shards make more than 250000 lanes: lower shards to 41666",
    ],
    [
      { ads: [{ id: 1, name: "A", packets: 9000 }] },
      "the ads' own packets add up to 9000, the campaign has 10000: set packets to 9000, or change the ads' packets",
    ],
    [
      {
        ads: [
          { id: 1, name: "A", packets: 20_000 },
          { id: 2, name: "B" },
        ],
      },
      "the ads' own packets add up to 20000, the campaign has 10000: set packets to 20001, or change the ads' packets",
    ],
    [
      {
        ads: [
          { id: 1, name: "A", packets: 10_000 },
          { id: 2, name: "B" },
        ],
      },
      "the ads' own packets are all 10000 of the campaign and leave none for ad 2: raise packets to 10001",
    ],
    [
      { ads: [{ id: 1, name: "A", budgetCents: 8_000_000 }] },
      "the ads' budgets and fixed amounts add up to 8000000 cents, the campaign's budget is 8888800: set budgetCents to 8000000, or change the ads' budgetCents",
    ],
    [
      {
        ads: [
          { id: 1, name: "A", budgetCents: 9_000_000 },
          { id: 2, name: "B" },
        ],
      },
      "the ads' budgets and fixed amounts add up to 9000000 cents, the campaign's budget is 8888800: raise budgetCents above 9000000, or change the ads' budgetCents",
    ],
    [
      {
        ads: [
          { id: 1, name: "A", packets: 10, budgetCents: 5 },
          { id: 2, name: "B" },
        ],
      },
      "ad 1 (A): 10 packets of at least 1 cents need at least 10 cents, the budget is 5: raise budgetCents of ad 1 to 10, or lower packets of ad 1 to 5",
    ],
    [
      {
        ads: [
          { id: 1, name: "A", packets: 9990, budgetCents: 8_888_795 },
          { id: 2, name: "B" },
        ],
      },
      "the campaign's part for ad 2: 10 packets of at least 1 cents need at least 10 cents, the budget is 5: raise budgetCents to 8888805, or lower packets to 9995",
    ],
    [
      {
        ads: [
          { id: 1, name: "A", weight: 1_000_000 },
          { id: 2, name: "B", budgetCents: 5 },
        ],
      },
      "ad 2 (B) has a budget of 5 cents, but its weight gives it no packet: give it packets of its own",
    ],
    [
      {
        budgetCents: Number.MAX_SAFE_INTEGER,
        split: { rule: "uniform", minCents: 1, maxCents: 0xffff_ffff },
      },
      "the campaign: 10000 packets of at most 4294967295 cents can carry at most 42949672950000 cents, the budget is 9007199254740991: lower budgetCents to 42949672950000, or raise packets to 2097153",
    ],
    [
      { ads: [1, 2].map((id) => ({ id, name: "x", budgetCents: Number.MAX_SAFE_INTEGER })) },
      /^the ads' budgets and fixed amounts add up to 18014398509481982 cents/,
    ],
  ])("%o", (changes, sentence) => {
    if (sentence instanceof RegExp) expect(refusal(changes)).toMatch(sentence);
    else expect(refusal(changes)).toBe(sentence);
  });
});

test("the numbers that a refusal names are possible, and the nearest", () => {
  const impossible = fc.record({
    packets: fc.integer({ min: 1, max: 2000 }),
    budgetCents: fc.integer({ min: 1, max: 500_000 }),
    minCents: fc.integer({ min: 1, max: 300 }),
    width: fc.integer({ min: 0, max: 300 }),
    rule: fc.constantFrom("uniform", "double-mean", "bell", "fixed"),
  });
  let refused = 0;
  fc.assert(
    fc.property(impossible, ({ packets, budgetCents, minCents, width, rule }) => {
      const bounds = { rule, minCents, maxCents: minCents + width };
      const split = rule === "fixed" ? { rule } : bounds;
      const numbers = { packets, budgetCents, shards: 1, split, ads: [{ id: 1, name: "A" }] };
      let message: string;
      try {
        makePlan(campaign(numbers));
        return;
      } catch (error) {
        message = (error as Error).message;
      }
      refused++;
      const ways = [...message.matchAll(/(raise|lower|set) (\w+) to (\d+)/g)];
      expect(ways.length).toBeGreaterThan(0);
      for (const [, verb, field, to] of ways) {
        const change = (value: number) =>
          field === "minCents" || field === "maxCents"
            ? { ...numbers, split: { ...bounds, [field]: value } }
            : { ...numbers, [field ?? ""]: value };
        expect(() => makePlan(campaign(change(Number(to))))).not.toThrow();
        const nearer = Number(to) + (verb === "raise" ? -1 : 1);
        if (rule !== "fixed") expect(() => makePlan(campaign(change(nearer)))).toThrow();
      }
    }),
    { numRuns: 2000 },
  );
  expect(refused).toBeGreaterThan(500);
});

describe("plan hash", () => {
  const hashOf = (of: Campaign) => planHash(of, makePlan(of)).toString("hex");

  test("spelling does not matter: order, spacing and defaults spelled out", () => {
    const reordered = Object.fromEntries(Object.entries(PLAIN).reverse());
    expect(hashOf(campaign(reordered))).toBe(hashOf(campaign()));
    expect(hashOf(campaign({ quota: { perUser: 3, perAd: 1 } }))).toBe(hashOf(campaign()));
  });

  test("every field of the campaign does", () => {
    const others = [
      { campaign: "other" },
      { budgetCents: 8_888_801 },
      { packets: 9999 },
      { shards: 3 },
      { split: { rule: "double-mean", minCents: 2, maxCents: 20_000 } },
      { split: { rule: "uniform", minCents: 1, maxCents: 20_000 } },
      { ads: [{ id: 1, name: "Sponsor A" }] },
      { quota: { perUser: 2, perAd: 1 } },
      { expiresAt: "2027-02-08T00:00:00Z" },
      { keys: { operator: "A".repeat(43), approver: `${"B".repeat(42)}A` } },
    ];
    const hashes = [campaign(), ...others.map((change) => campaign(change))].map(hashOf);
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});
