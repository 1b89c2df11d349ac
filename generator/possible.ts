/**
 * Whether a pool's numbers can be met at all, and if not, which are the nearest that can. A refusal is one
 * sentence with the arithmetic in it; every number it proposes has been computed, never guessed.
 *
 * Products are computed as big integers: a campaign of nonsense must be refused, not overflow.
 */
import type { PlainSplit, Split } from "../core/format/campaign.ts";
import { HongbaoError } from "../core/format/error.ts";
import { PACKET_CENTS_MAX } from "../core/format/money.ts";
import type { RestRule, Tier } from "./split.ts";

/** A number of the campaign file that could be changed, and what it holds beside the pool's own part. */
export interface Field {
  /** as the operator knows it: "budgetCents", "packets of ad 2" */
  readonly label: string;
  readonly beside: number;
}

export interface Demand {
  /** "the campaign", "ad 2 (Sponsor B)" */
  readonly name: string;
  readonly packets: number;
  readonly cents: number;
  readonly split: Split;
  readonly budgetField?: Field | undefined;
  readonly packetsField?: Field | undefined;
}

/**
 * @returns the rule with nothing left open
 * @throws HongbaoError `invalid_campaign` with the nearest possible numbers
 */
export function resolveRule(demand: Demand): { tiers: readonly Tier[]; rest: RestRule } {
  const { split } = demand;
  if (split.rule !== "tiers") return { tiers: [], rest: resolveRest(demand, split, [0n, 0n]) };
  const taken: [bigint, bigint] = [
    split.tiers.reduce((sum, { count }) => sum + BigInt(count), 0n),
    split.tiers.reduce((sum, { cents, count }) => sum + BigInt(cents) * BigInt(count), 0n),
  ];
  const [packets, cents] = taken;
  if (packets > BigInt(demand.packets))
    refuse(
      `the tiers of ${demand.name} hold ${packets} packets, but it has ${demand.packets}`,
      raise(demand.packetsField, packets),
      "lower the tiers' counts",
    );
  const rest = BigInt(demand.packets) - packets;
  const least = cents + rest * BigInt(leastCents(split.rest));
  if (least > BigInt(demand.cents))
    refuse(
      `the tiers of ${demand.name} are worth ${cents} cents` +
        (rest > 0n ? ` and its ${rest} other packets at least ${least - cents}` : "") +
        `, but it has ${demand.cents}`,
      raise(demand.budgetField, least),
      "lower the tiers",
    );
  if (rest === 0n && cents < BigInt(demand.cents))
    refuse(
      `the tiers of ${demand.name} take all ${demand.packets} packets and are worth ${cents} cents, but it has ${demand.cents}`,
      lower(demand.budgetField, cents),
      "leave packets to the rest",
    );
  return { tiers: split.tiers, rest: resolveRest(demand, split.rest, taken) };
}

/** What a rule is worth whatever the budget says: packets × amount, or undefined if the budget decides. */
export function impliedCents(split: Split, packets: number): bigint | undefined {
  if (split.rule === "fixed")
    return split.cents === undefined ? undefined : BigInt(packets) * BigInt(split.cents);
  if (split.rule !== "tiers") return undefined;
  const tiers = split.tiers.reduce((sum, { count }) => sum + count, 0);
  const rest = impliedCents(split.rest, Math.max(0, packets - tiers));
  if (rest === undefined) return undefined;
  return split.tiers.reduce((sum, { cents, count }) => sum + BigInt(cents) * BigInt(count), rest);
}

function leastCents(split: PlainSplit): number {
  return split.rule === "fixed" ? (split.cents ?? 1) : split.minCents;
}

/** @param taken packets and cents of the tiers */
function resolveRest(demand: Demand, split: PlainSplit, taken: readonly [bigint, bigint]): RestRule {
  const packets = BigInt(demand.packets) - taken[0];
  const cents = BigInt(demand.cents) - taken[1];
  if (split.rule === "fixed")
    return { rule: "fixed", cents: fixedCents(demand, split.cents, packets, taken) };
  const { minCents, maxCents } = split;
  if (minCents > maxCents)
    refuse(`${demand.name} has minCents ${minCents} above maxCents ${maxCents}`, "swap them");
  if (packets === 0n) return resolved(split, 1);
  const least = packets * BigInt(minCents);
  const most = packets * BigInt(maxCents);
  // The numbers of packets that this budget suits; there may be none: 517 cents in packets of exactly 2.
  const fewestPackets = ceilDiv(cents, BigInt(maxCents));
  const mostPackets = cents / BigInt(minCents);
  const suits = fewestPackets <= mostPackets;
  const others = taken[0] > 0n ? " beside the tiers" : "";
  if (cents < least)
    refuse(
      `${demand.name}: ${packets} packets${others} of at least ${minCents} cents need at least ${least} cents, the budget is ${cents}${forThem(taken)}`,
      raise(demand.budgetField, least + taken[1]),
      suits ? lower(demand.packetsField, mostPackets + taken[0]) : undefined,
      cents >= packets ? `lower minCents to ${cents / packets}` : undefined,
    );
  if (cents > most)
    refuse(
      `${demand.name}: ${packets} packets${others} of at most ${maxCents} cents can carry at most ${most} cents, the budget is ${cents}${forThem(taken)}`,
      lower(demand.budgetField, most + taken[1]),
      suits ? raise(demand.packetsField, fewestPackets + taken[0]) : undefined,
      ceilDiv(cents, packets) <= PACKET_CENTS_MAX
        ? `raise maxCents to ${ceilDiv(cents, packets)}`
        : undefined,
    );
  const halfWindow = Number((cents - least < most - cents ? cents - least : most - cents) / packets);
  return resolved(split, Math.max(1, Math.floor(halfWindow / 3)));
}

/** @param stdDevCents used unless the split names its own: a third of the window, so that its ends are rare */
function resolved(split: Exclude<PlainSplit, { rule: "fixed" }>, stdDevCents: number): RestRule {
  const { minCents, maxCents } = split;
  return split.rule === "bell"
    ? { rule: "bell", minCents, maxCents, stdDevCents: split.stdDevCents ?? stdDevCents }
    : { rule: split.rule, minCents, maxCents };
}

function fixedCents(
  demand: Demand,
  amount: number | undefined,
  packets: bigint,
  taken: readonly [bigint, bigint],
): number {
  const cents = BigInt(demand.cents) - taken[1];
  if (packets === 0n) return amount ?? 0;
  const budget = `the budget is ${cents}${forThem(taken)}`;
  if (amount !== undefined) {
    const needed = packets * BigInt(amount);
    if (needed !== cents)
      refuse(
        `${demand.name}: ${packets} packets of ${amount} cents are ${needed} cents, ${budget}`,
        set(demand.budgetField, needed + taken[1]),
        cents % BigInt(amount) === 0n
          ? set(demand.packetsField, cents / BigInt(amount) + taken[0])
          : undefined,
        cents % packets === 0n && cents > 0n ? `set the amount to ${cents / packets} cents` : undefined,
      );
    return amount;
  }
  const each = cents / packets;
  if (each * packets !== cents || each === 0n)
    refuse(
      `${demand.name}: ${packets} packets cannot share their cents equally, ${budget}`,
      each > 0n ? lower(demand.budgetField, each * packets + taken[1]) : undefined,
      raise(demand.budgetField, (each + 1n) * packets + taken[1]),
    );
  if (each > BigInt(PACKET_CENTS_MAX))
    refuse(
      `${demand.name}: ${each} cents is more than one packet can hold`,
      raise(demand.packetsField, ceilDiv(cents, BigInt(PACKET_CENTS_MAX)) + taken[0]),
      lower(demand.budgetField, packets * BigInt(PACKET_CENTS_MAX) + taken[1]),
    );
  return Number(each);
}

/**
 * @param ways what would help, each a clause; those that are not to be had are undefined
 * @throws HongbaoError `invalid_campaign`, always
 */
export function refuse(reason: string, ...ways: (string | undefined)[]): never {
  const open = ways.filter((way) => way !== undefined);
  throw new HongbaoError(
    "invalid_campaign",
    open.length > 0 ? `${reason}: ${open.join(", or ")}` : `${reason}: check the ads' packets and budgets`,
  );
}

function raise(field: Field | undefined, to: bigint): string | undefined {
  return change("raise", field, to);
}

function lower(field: Field | undefined, to: bigint): string | undefined {
  return change("lower", field, to);
}

function set(field: Field | undefined, to: bigint): string | undefined {
  return change("set", field, to);
}

function change(verb: string, field: Field | undefined, to: bigint): string | undefined {
  if (field === undefined || to <= 0n) return undefined;
  const value = to + BigInt(field.beside);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? `${verb} ${field.label} to ${value}` : undefined;
}

function forThem(taken: readonly [bigint, bigint]): string {
  return taken[0] > 0n ? " for them" : "";
}

function ceilDiv(a: bigint, b: bigint): bigint {
  return (a + b - 1n) / b;
}
