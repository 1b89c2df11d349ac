import { describe, expect, it } from "vitest";
import { parseCampaign } from "../../../core/format/campaign.ts";
import { HongbaoError } from "../../../core/format/error.ts";

const OPERATOR = "A".repeat(43);
const APPROVER = "B".repeat(43);
const least = {
  campaign: "gala-2027",
  mode: "test",
  budgetCents: 4000,
  packets: 40,
  shards: 2,
  split: { rule: "uniform", minCents: 1, maxCents: 500 },
  ads: [{ id: 1, name: "Sponsor A" }],
  expiresAt: "2027-02-07T00:00:00Z",
};

const parse = (change: object) => parseCampaign(JSON.stringify({ ...least, ...change }));

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof HongbaoError && error.code === "invalid_campaign") return error.message;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("campaign file", () => {
  it("is completed: one weight, a quota of three in all and one of each ad", () => {
    expect(parse({})).toEqual({
      ...least,
      ads: [{ id: 1, name: "Sponsor A", weight: 1 }],
      quota: { perUser: 3, perAd: 1 },
    });
    expect(parse({ quota: { perUser: 9 } }).quota).toEqual({ perUser: 9, perAd: 1 });
  });

  it.each([
    [{ rule: "fixed" }, { rule: "fixed" }],
    [
      { rule: "fixed", cents: 100 },
      { rule: "fixed", cents: 100 },
    ],
    [
      { rule: "fixed", amountCents: 100 },
      { rule: "fixed", cents: 100 },
    ],
    [
      { rule: "fixed", cents: 100, amountCents: 100 },
      { rule: "fixed", cents: 100 },
    ],
  ])("%j has one meaning: %j", (split, meaning) => {
    expect(parse({ split }).split).toEqual(meaning);
  });

  it.each([
    [
      { rule: "fixed", cents: 100, amountCents: 99 },
      "split: cents and amountCents disagree: give one of them",
    ],
    [{ rule: "normal" }, "split: rule must be one of fixed, uniform, double-mean, bell, tiers"],
    [{ rule: "constructor" }, "split: rule must be one of fixed, uniform, double-mean, bell, tiers"],
    [{ minCents: 1 }, "split: rule must be one of fixed, uniform, double-mean, bell, tiers"],
    [{ rule: 7 }, "split: rule must be one of fixed, uniform, double-mean, bell, tiers"],
    ["uniform", "split: rule must be one of fixed, uniform, double-mean, bell, tiers"],
    [null, "split: rule must be one of fixed, uniform, double-mean, bell, tiers"],
    [{ rule: "uniform", minCents: 1 }, "split: maxCents: is missing"],
    [
      { rule: "bell", minCents: 1, maxCents: 2, stdDevCents: 0.5 },
      "split: stdDevCents: must be a whole number",
    ],
    [
      { rule: "tiers", tiers: [{ cents: 1, count: 1 }], rest: { rule: "tiers" } },
      "split: rest: rule must be one of fixed, uniform, double-mean, bell",
    ],
  ])("%j is refused with what is wrong with its rule", (split, why) => {
    expect(refusal(() => parse({ split }))).toBe(`the campaign file is invalid: ${why}`);
  });

  it("two ads of one number are refused, and the second one is named", () => {
    const ads = [
      { id: 3, name: "A" },
      { id: 3, name: "B" },
    ];
    expect(refusal(() => parse({ ads }))).toBe("the campaign file is invalid: ads.1.id: ad 3 appears twice");
  });

  it("a live campaign names two people, and they are two", () => {
    const keys = { operator: OPERATOR, approver: APPROVER };
    expect(parse({ mode: "live", keys }).keys).toEqual(keys);
    expect(refusal(() => parse({ mode: "live" }))).toMatch(
      /keys: a live campaign needs the public keys of operator and approver/,
    );
    expect(refusal(() => parse({ keys: { operator: OPERATOR, approver: OPERATOR } }))).toBe(
      "the campaign file is invalid: keys: operator and approver must differ",
    );
  });

  it("what is not JSON says where it stops being so", () => {
    expect(refusal(() => parseCampaign('{ "campaign": }'))).toMatch(
      /^the campaign file is not JSON: Unexpected token/,
    );
  });
});
