/**
 * The campaign file: what an operator writes, and the only input of the generator. Parsed once, strictly; what
 * comes out is complete (defaults filled in) and canonical, so that its hash names the campaign.
 *
 * Whether the numbers are *possible* (budget against bounds, per ad) is the plan's question, not the format's.
 */
import { z } from "zod";
import { HongbaoError, invariant, messageOf } from "./error.ts";
import { describeIssues } from "./json.ts";
import { PACKET_CENTS_MAX } from "./money.ts";

export const CAMPAIGN_ID = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** Names are shown on terminals and pages, and hashed: no control character, no half of a surrogate pair. */
const NAME = /^[^\p{Cc}\p{Cs}]+$/u;
/** A raw Ed25519 public key, 32 bytes in base64url. */
const PUBLIC_KEY = /^[A-Za-z0-9_-]{43}$/;

/** Serials are unsigned 32-bit, shards and ads unsigned 16-bit. */
export const SHARD_PACKETS_MAX = 0xffff_ffff;
const SHARDS_MAX = 0x1_0000;
/** Each lane of a shard has its share of the 256 packets that may be leased at once. */
const ADS_MAX = 256;
const TIERS_MAX = 1000;

const packetCents = z.int().min(1).max(PACKET_CENTS_MAX);
const count = z.int().min(1);
const bounds = { minCents: packetCents, maxCents: packetCents };

const uniform = z.strictObject({ rule: z.literal("uniform"), ...bounds });
const doubleMean = z.strictObject({ rule: z.literal("double-mean"), ...bounds });
const bell = z.strictObject({
  rule: z.literal("bell"),
  ...bounds,
  stdDevCents: z.int().min(1).max(PACKET_CENTS_MAX).optional(),
});
const fixed = z
  .strictObject({
    rule: z.literal("fixed"),
    cents: packetCents.optional(),
    amountCents: packetCents.optional().describe("another spelling of cents"),
  })
  .transform(({ cents, amountCents }, context) => {
    if (cents !== undefined && amountCents !== undefined && cents !== amountCents)
      context.addIssue({ code: "custom", message: "cents and amountCents disagree: give one of them" });
    const amount = cents ?? amountCents;
    return amount === undefined ? { rule: "fixed" as const } : { rule: "fixed" as const, cents: amount };
  });
const plainRules = { fixed, uniform, "double-mean": doubleMean, bell };
const plainSplit = z.union([fixed, uniform, doubleMean, bell], {
  error: (issue) => splitProblem(issue.input, plainRules),
});
const tiers = z.strictObject({
  rule: z.literal("tiers"),
  tiers: z
    .array(z.strictObject({ cents: packetCents, count }))
    .min(1)
    .max(TIERS_MAX),
  rest: plainSplit,
});
const split = z.union([fixed, uniform, doubleMean, bell, tiers], {
  error: (issue) => splitProblem(issue.input, { ...plainRules, tiers }),
});

/** A union's own message ("Invalid input") helps nobody: say which rule it was and what is wrong with it. */
function splitProblem(input: unknown, rules: Readonly<Record<string, z.ZodType>>): string {
  const named = typeof input === "object" && input !== null && "rule" in input ? input.rule : undefined;
  const rule = Object.entries(rules).find(([name]) => name === named);
  if (rule === undefined) return `rule must be one of ${Object.keys(rules).join(", ")}`;
  const { error } = rule[1].safeParse(input);
  invariant(error !== undefined, "what the union refuses its own rule refuses");
  return describeIssues(error);
}

const ad = z.strictObject({
  id: z.int().min(1).max(0xffff),
  name: z.string().min(1).max(200).regex(NAME, "must be text without control characters"),
  weight: z.int().min(1).max(1_000_000).default(1),
  budgetCents: count.optional(),
  packets: count.optional(),
  split: split.optional(),
});

const campaign = z
  .strictObject({
    campaign: z.string().regex(CAMPAIGN_ID, "must be lower-case letters, digits and dashes, 1 to 63 of them"),
    mode: z.enum(["test", "live"]),
    budgetCents: count,
    packets: count,
    shards: z.int().min(1).max(SHARDS_MAX),
    split,
    ads: z.array(ad).min(1).max(ADS_MAX),
    quota: z
      .strictObject({
        perUser: z.int().min(1).max(0xffff).default(3),
        perAd: z.int().min(1).max(0xffff).default(1),
      })
      .default({ perUser: 3, perAd: 1 }),
    expiresAt: z.iso.datetime({ offset: true, error: "must be a time such as 2027-02-07T00:00:00Z" }),
    keys: z
      .strictObject({
        operator: z
          .string()
          .regex(PUBLIC_KEY, "must be an Ed25519 public key as `hongbao keys new` prints it"),
        approver: z
          .string()
          .regex(PUBLIC_KEY, "must be an Ed25519 public key as `hongbao keys new` prints it"),
      })
      .optional(),
  })
  .superRefine((value, context) => {
    const seen = new Set<number>();
    for (const [index, { id }] of value.ads.entries()) {
      if (seen.has(id))
        context.addIssue({ code: "custom", path: ["ads", index, "id"], message: `ad ${id} appears twice` });
      seen.add(id);
    }
    if (value.keys && value.keys.operator === value.keys.approver)
      context.addIssue({ code: "custom", path: ["keys"], message: "operator and approver must differ" });
    if (value.mode === "live" && !value.keys)
      context.addIssue({
        code: "custom",
        path: ["keys"],
        message:
          "a live campaign needs the public keys of operator and approver (make them with `hongbao keys new`)",
      });
  });

export type Campaign = z.output<typeof campaign>;
export type Ad = Campaign["ads"][number];
export type Split = z.output<typeof split>;
export type PlainSplit = z.output<typeof plainSplit>;
export type Mode = Campaign["mode"];
export const campaignSchema = campaign;

/**
 * @param text the campaign file's text
 * @throws HongbaoError `invalid_campaign`, naming every fault with its place
 */
export function parseCampaign(text: string): Campaign {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new HongbaoError("invalid_campaign", `the campaign file is not JSON: ${messageOf(cause)}`, {
      cause,
    });
  }
  const result = campaign.safeParse(value);
  if (!result.success)
    throw new HongbaoError(
      "invalid_campaign",
      `the campaign file is invalid: ${describeIssues(result.error)}`,
    );
  return result.data;
}
