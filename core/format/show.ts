/**
 * The show config: when which sponsors' packets fly, and how fast. Signed by the operator over its exact text,
 * versioned, persisted by every node, which then opens and closes rounds by its own clock: the countdown is the
 * safety net when no command arrives.
 */
import { z } from "zod";
import { CAMPAIGN_ID } from "./campaign.ts";
import { HongbaoError } from "./error.ts";
import { describeIssues } from "./json.ts";
import { ROLES } from "./signature.ts";

export const SHOW_TEXT_MAX = 64 * 1024;

const instant = z.iso.datetime({ offset: true, error: "must be a time such as 2027-02-06T14:30:00Z" });
const round = z
  .strictObject({
    id: z.string().min(1).max(64),
    opensAt: instant,
    closesAt: instant,
    ads: z.array(z.int().min(1).max(0xffff)).min(1).max(1000),
    /** Of the whole campaign; a node takes its shard's share. Absent: not paced. */
    packetsPerSecond: z.number().positive().max(1e9).optional(),
    hitProbability: z.number().min(0).max(1).default(1),
  })
  .refine(
    ({ opensAt, closesAt }) => Date.parse(opensAt) < Date.parse(closesAt),
    "closesAt must be after opensAt",
  );
const show = z
  .strictObject({
    campaign: z.string().regex(CAMPAIGN_ID),
    version: z.int().min(1),
    stop: z.boolean().default(false),
    rounds: z.array(round).max(1000),
  })
  .refine(
    ({ rounds }) => new Set(rounds.map(({ id }) => id)).size === rounds.length,
    "two rounds share an id",
  );

/** What goes over the wire: the exact text that was signed. */
export const signedShowSchema = z.strictObject({
  show: z.string().max(SHOW_TEXT_MAX),
  signatures: z
    .array(z.strictObject({ role: z.enum(ROLES), sig: z.string().max(200) }))
    .min(1)
    .max(ROLES.length),
});

export type Show = z.output<typeof show>;
export type Round = Show["rounds"][number];
export type SignedShow = z.output<typeof signedShowSchema>;

/** @throws HongbaoError `invalid_show`, naming every fault */
export function parseShow(text: string): Show {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new HongbaoError("invalid_show", "the show config is not JSON", { cause });
  }
  const result = show.safeParse(value);
  if (result.success) return result.data;
  throw new HongbaoError("invalid_show", `the show config is invalid: ${describeIssues(result.error)}`);
}

/** The one round of `--open-now`: all ads, unpaced, probability 1, until the campaign expires. */
export function openNowShow(campaign: string, ads: readonly number[], expiresAt: string): Show {
  const rounds = [
    {
      id: "open-now",
      opensAt: new Date(0).toISOString(),
      closesAt: expiresAt,
      ads: [...ads],
      hitProbability: 1,
    },
  ];
  return { campaign, version: 0, stop: false, rounds };
}

export type AirState =
  | { readonly state: "none" | "stopped" | "over"; readonly rounds: readonly [] }
  | { readonly state: "countdown"; readonly startsAtMs: number; readonly rounds: readonly [] }
  | { readonly state: "open"; readonly rounds: readonly Round[]; readonly closesAtMs: number };

/** What is on air at `nowMs`: a pure function of the plan and the clock, so a restart changes nothing. */
export function onAir(plan: Show | undefined, nowMs: number): AirState {
  if (plan === undefined) return { state: "none", rounds: [] };
  if (plan.stop) return { state: "stopped", rounds: [] };
  const open = plan.rounds.filter((r) => Date.parse(r.opensAt) <= nowMs && nowMs < Date.parse(r.closesAt));
  if (open.length > 0)
    return { state: "open", rounds: open, closesAtMs: Math.max(...open.map((r) => Date.parse(r.closesAt))) };
  const coming = plan.rounds.map((r) => Date.parse(r.opensAt)).filter((at) => at > nowMs);
  if (coming.length > 0) return { state: "countdown", startsAtMs: Math.min(...coming), rounds: [] };
  return { state: "over", rounds: [] };
}

/** The next moment after `nowMs` at which `onAir` answers differently, or undefined. */
export function nextChange(plan: Show | undefined, nowMs: number): number | undefined {
  if (plan === undefined || plan.stop) return undefined;
  const moments = plan.rounds.flatMap((r) => [Date.parse(r.opensAt), Date.parse(r.closesAt)]);
  const coming = moments.filter((at) => at > nowMs);
  return coming.length > 0 ? Math.min(...coming) : undefined;
}
