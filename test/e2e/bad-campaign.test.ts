import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { killAll, run } from "./cli.ts";
import { expectRefusal } from "./refusals.ts";
import { campaignText } from "./stage.ts";

/** Campaigns that cannot be: refused with the reason and, where there are any, numbers that can. */
const cwd = mkdtempSync(join(tmpdir(), "bad-campaign-"));
afterAll(async () => {
  await killAll();
  rmSync(cwd, { recursive: true, force: true });
});

interface Draft extends Record<string, unknown> {
  packets: number;
  shards: number;
  budgetCents: number;
  split: Record<string, unknown>;
  ads: Record<string, unknown>[];
}
/** Changes a campaign that could be minted. */
type Spoil = (draft: Draft, tea: Record<string, unknown>, carps: Record<string, unknown>) => void;
const TIERS = (cents: number, count: number) => ({
  rule: "tiers",
  tiers: [{ cents, count }],
  rest: { rule: "uniform", minCents: 1, maxCents: 500 },
});

const NUMBERS: readonly [fault: string, spoil: Spoil, sentence: RegExp][] = [
  [
    "budget below packets x min",
    (c) => Object.assign(c.split, { minCents: 101 }),
    /need at least 4040 cents, the budget is 4000: raise budgetCents to 4040, or lower packets to 39, or lower minCents to 100/,
  ],
  [
    "budget above packets x max",
    (c) => Object.assign(c.split, { maxCents: 99 }),
    /can carry at most 3960 cents, the budget is 4000: lower budgetCents to 3960, or raise packets to 41, or raise maxCents to 100/,
  ],
  ["no packets", (c) => Object.assign(c, { packets: 0 }), /packets: Too small/],
  ["no budget", (c) => Object.assign(c, { budgetCents: 0 }), /budgetCents: Too small/],
  ["half a cent", (c) => Object.assign(c, { budgetCents: 4000.5 }), /budgetCents: must be a whole number/],
  ["a budget beyond all numbers", (c) => Object.assign(c, { budgetCents: 2 ** 53 }), /budgetCents: Too big/],
  [
    "over 2^32 packets a shard",
    (c) => Object.assign(c, { packets: 2 ** 33, budgetCents: 2 ** 40 }),
    /a shard can hold 4294967295 packets, 8589934592 in 2 shards are more: raise shards to 3/,
  ],
  [
    "more shards than packets",
    (c) => Object.assign(c, { shards: 41 }),
    /40 packets cannot fill 41 shards: lower shards to 40, or raise packets to 41/,
  ],
  [
    "min above max",
    (c) => Object.assign(c.split, { minCents: 9, maxCents: 8 }),
    /minCents 9 above maxCents 8: swap them/,
  ],
  [
    "a fixed amount that does not fit",
    (c) => Object.assign(c, { split: { rule: "fixed", cents: 99 } }),
    /40 packets of 99 cents are 3960 cents, the budget is 4000: set budgetCents to 3960, or set the amount to 100/,
  ],
  [
    "tiers above the budget",
    (c) => Object.assign(c, { split: TIERS(2000, 3) }),
    /the tiers of the campaign are worth 6000 cents .*: raise budgetCents to 6037, or lower the tiers/,
  ],
  [
    "tiers above the packets",
    (c) => Object.assign(c, { split: TIERS(1, 41) }),
    /the tiers of the campaign hold 41 packets, but it has 40: raise packets to 41/,
  ],
  [
    "an unknown rule",
    (c) => Object.assign(c.split, { rule: "lucky" }),
    /rule must be one of fixed, uniform, double-mean, bell, tiers/,
  ],
];

const ADS: readonly [fault: string, spoil: Spoil, sentence: RegExp][] = [
  ["no ads", (c) => Object.assign(c, { ads: [] }), /ads: Too small/],
  ["an ad twice", (_, _tea, carps) => Object.assign(carps, { id: 1 }), /ads\.1\.id: ad 1 appears twice/],
  ["an ad without a name", (_, tea) => Object.assign(tea, { name: "" }), /ads\.0\.name: Too small/],
  [
    "a name that moves the cursor",
    (_, tea) => Object.assign(tea, { name: "\u001b[2J" }),
    /ads\.0\.name: must be text without control characters/,
  ],
  [
    "a misspelt key of an ad",
    (_, tea) => Object.assign(tea, { wieght: 2 }),
    /ads\.0: Unrecognized key: "wieght": remove it, or correct its spelling/,
  ],
  [
    "ads that spend more than there is",
    (_, tea) => Object.assign(tea, { budgetCents: 5000 }),
    /the ads' budgets .* add up to 5000 cents, the campaign's budget is 4000/,
  ],
  [
    "ads with more packets than there are",
    (_, tea) => Object.assign(tea, { packets: 41 }),
    /the ads' own packets add up to 41, the campaign has 40/,
  ],
  [
    "an ad's budget below its packets x min",
    (_, tea) => Object.assign(tea, { packets: 20, budgetCents: 19 }),
    /ad 1 \(Tea\): 20 packets of at least 1 cents need at least 20 cents, the budget is 19/,
  ],
  [
    "an ad's min above its max",
    (_, tea) => Object.assign(tea, { split: { rule: "uniform", minCents: 9, maxCents: 8 } }),
    /ad 1 \(Tea\) has minCents 9 above maxCents 8: swap them/,
  ],
  [
    "an ad's fixed amount that does not fit",
    (_, tea) => Object.assign(tea, { packets: 10, budgetCents: 99, split: { rule: "fixed", cents: 9 } }),
    /ad 1 \(Tea\): 10 packets of 9 cents are 90 cents, the budget is 99/,
  ],
];

const REST: readonly [fault: string, spoil: Spoil, sentence: RegExp][] = [
  [
    "a misspelt key",
    (c) => Object.assign(c, { bugdetCents: 1 }),
    /Unrecognized key: "bugdetCents": remove it, or correct its spelling/,
  ],
  [
    "nothing in it",
    (c) => {
      for (const key of Object.keys(c)) delete c[key];
    },
    /campaign: is missing; mode: .*; budgetCents: is missing; packets: is missing; shards: is missing/,
  ],
  [
    "a date past",
    (c) => Object.assign(c, { expiresAt: "2020-01-01T00:00:00Z" }),
    /expiresAt 2020-01-01T00:00:00Z is in the past: .* set a later time/,
  ],
  [
    "a name that is a path",
    (c) => Object.assign(c, { campaign: "../gala" }),
    /campaign: must be lower-case letters, digits and dashes/,
  ],
  [
    "live without keys",
    (c) => Object.assign(c, { mode: "live" }),
    /a live campaign needs the public keys of operator and approver \(make them with `hongbao keys new`\)/,
  ],
  [
    "live with one key for both",
    (c) => Object.assign(c, { mode: "live", keys: { operator: "A".repeat(43), approver: "A".repeat(43) } }),
    /operator and approver must differ/,
  ],
  [
    "live with half a key",
    (c) => Object.assign(c, { mode: "live", keys: { operator: "A", approver: "B".repeat(43) } }),
    /keys\.operator: must be an Ed25519 public key/,
  ],
];

describe.concurrent("generate refuses a campaign with", () => {
  it.each([...NUMBERS, ...ADS, ...REST])("%s", async (fault, spoil, sentence) => {
    const draft = JSON.parse(campaignText("gala")) as Draft;
    spoil(draft, draft.ads[0] ?? {}, draft.ads[1] ?? {});
    const path = join(cwd, `${fault.replaceAll(/\W/g, "-")}.json`);
    writeFileSync(path, JSON.stringify(draft));
    expectRefusal(await run(["generate", path], { cwd }), 2, sentence);
  });
});

describe("after all of them", () => {
  it("nothing was made", () => {
    expect(readdirSync(cwd).filter((name) => !name.endsWith(".json"))).toEqual([]);
  });
});
