/**
 * The plan: how many packets and cents every (ad, shard) lane carries, and by which rule. A pure function of
 * the campaign, so that its hash names the mint.
 *
 * What holds: counts and cents of lanes add up to shards, ads and campaign exactly; shards differ by at most one
 * packet, and so do an ad's lanes; tiers are dealt first; every lane's cents are within its packets' bounds.
 * Lanes of a shard stand in the campaign's order of ads; a lane without packets does not exist.
 */
import { createHash } from "node:crypto";
import { ByteWriter } from "../core/format/bytes.ts";
import { type Campaign, SHARD_PACKETS_MAX } from "../core/format/campaign.ts";
import { invariant } from "../core/format/error.ts";
import { canonicalJson } from "../core/format/json.ts";
import { formatCents } from "../core/format/money.ts";
import { apportion, apportionTiers } from "./apportion.ts";
import { type Pool, resolvePools } from "./pools.ts";
import { refuse } from "./possible.ts";
import type { LaneSplit, RestRule, Tier } from "./split.ts";

/** Part of every mint's identity: change it with anything that changes a minted byte. */
export const MINT_ALGORITHM = "hongbao.mint.v1";
/** More than any show needs, and few enough that each can have a marker file while it is minted. */
const LANES_MAX = 250_000;

export interface LanePlan extends LaneSplit {
  readonly ad: number;
}

export interface ShardPlan {
  readonly shard: number;
  readonly packets: number;
  readonly cents: number;
  readonly lanes: readonly LanePlan[];
}

interface AdPlan {
  readonly id: number;
  readonly name: string;
  /** the rule in words, for people */
  readonly rule: string;
  readonly packets: number;
  readonly cents: number;
}

export interface Plan {
  readonly packets: number;
  readonly cents: number;
  readonly ads: readonly AdPlan[];
  readonly shards: readonly ShardPlan[];
}

/** @throws HongbaoError `invalid_campaign` with the reason and the nearest possible numbers */
export function makePlan(campaign: Campaign): Plan {
  checkSizes(campaign);
  const pools = resolvePools(campaign);
  const adsInOrder = pools
    .flatMap((pool) => pool.ads.map((ad) => ({ pool, ...ad })))
    .sort((a, b) => a.index - b.index);
  const counts = dealPackets(
    adsInOrder.map(({ packets }) => packets),
    campaign.shards,
  );
  const lanes = new Map(pools.flatMap((pool) => poolLanes(pool, counts)));
  const shards = Array.from({ length: campaign.shards }, (_, shard): ShardPlan => {
    const inShard = adsInOrder.flatMap(({ index }) => lanes.get(index)?.[shard] ?? []);
    const present = inShard.filter(({ packets }) => packets > 0);
    return { shard, ...sums(present), lanes: present };
  });
  const ads = adsInOrder.map(({ index, id, pool }): AdPlan => {
    const rule = describeRule(pool.tiers, pool.rest);
    return { id, name: campaign.ads[index]?.name ?? "", rule, ...sums(lanes.get(index) ?? []) };
  });
  const plan = { ...sums(shards), ads, shards };
  invariant(
    plan.packets === campaign.packets && plan.cents === campaign.budgetCents,
    "the plan adds up to the campaign",
  );
  return plan;
}

/**
 * SHA-256 over campaign, resolved lanes and algorithm version, each behind its length. The campaign is hashed as
 * parsed, in canonical JSON: spacing and defaults spelled out do not make another mint, nor do the words in
 * which an ad's rule is described.
 */
export function planHash(campaign: Campaign, plan: Plan): Buffer {
  const hash = createHash("sha256");
  for (const text of [canonicalJson(campaign), canonicalJson(plan.shards), MINT_ALGORITHM]) {
    const bytes = Buffer.from(text);
    hash.update(new ByteWriter(4).u32(bytes.length).done()).update(bytes);
  }
  return hash.digest();
}

function checkSizes({ packets, shards, ads }: Campaign): void {
  if (shards > packets)
    refuse(
      `${packets} packets cannot fill ${shards} shards`,
      `lower shards to ${packets}`,
      `raise packets to ${shards}`,
    );
  if (Math.ceil(packets / shards) > SHARD_PACKETS_MAX)
    refuse(
      `a shard can hold ${SHARD_PACKETS_MAX} packets, ${packets} in ${shards} shards are more`,
      `raise shards to ${Math.ceil(packets / SHARD_PACKETS_MAX)}`,
    );
  if (Math.min(packets, shards * ads.length) > LANES_MAX)
    refuse(
      `${ads.length} ads in ${shards} shards make more than ${LANES_MAX} lanes`,
      `lower shards to ${Math.floor(LANES_MAX / ads.length)}`,
    );
}

/**
 * Packets of each ad in each shard: every shard has the same number but for one, and so has every ad in every
 * shard. The odd ones go round: each ad begins where the one before it stopped.
 * @returns [ad][shard]
 */
function dealPackets(ads: readonly number[], shards: number): number[][] {
  let next = 0;
  return ads.map((packets) => {
    const odd = packets % shards;
    const first = next;
    next = (next + odd) % shards;
    const base = (packets - odd) / shards;
    return Array.from({ length: shards }, (_, shard) =>
      (shard - first + shards) % shards < odd ? base + 1 : base,
    );
  });
}

/** Tiers, then cents: each dealt to the pool's ads, then to each ad's shards. */
function poolLanes(pool: Pool, counts: readonly number[][]): [number, LanePlan[]][] {
  const tiers = apportionTiers(
    pool.tiers.map(({ count }) => count),
    pool.ads.map(({ packets }) => packets),
  );
  const restPackets = pool.ads.map(({ packets }, i) => packets - sum(tiers[i] ?? []));
  const restCents = apportion(pool.cents - tierCents(pool.tiers), restPackets);
  return pool.ads.map((ad, i) => {
    const perShard = turn(counts[ad.index] ?? [], ad.index);
    const lanes = adLanes(ad.id, pool, perShard, tiers[i] ?? [], restCents[i] ?? 0);
    return [ad.index, turn(lanes, -ad.index)];
  });
}

function adLanes(
  ad: number,
  { tiers, rest }: Pool,
  packets: readonly number[],
  tierCounts: readonly number[],
  cents: number,
): LanePlan[] {
  const dealt = apportionTiers(tierCounts, packets);
  const shares = apportion(
    cents,
    packets.map((count, s) => count - sum(dealt[s] ?? [])),
  );
  return packets.map((count, s): LanePlan => {
    const own = tiers.map((tier, t) => ({ cents: tier.cents, count: dealt[s]?.[t] ?? 0 }));
    const present = own.filter((tier) => tier.count > 0);
    return { ad, packets: count, cents: (shares[s] ?? 0) + tierCents(present), tiers: present, rest };
  });
}

/** Begins a list elsewhere, so that not every ad's first prize goes to the first shard. */
function turn<T>(list: readonly T[], by: number): T[] {
  const at = list.length === 0 ? 0 : ((by % list.length) + list.length) % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

function describeRule(tiers: readonly Tier[], rest: RestRule): string {
  const prizes = tiers.map(({ cents, count }) => `${count} x ${formatCents(cents)}`);
  const shown = prizes.length > 5 ? [...prizes.slice(0, 5), `${prizes.length - 5} more tiers`] : prizes;
  return [...shown, describeRest(rest)].join(", ");
}

function describeRest(rest: RestRule): string {
  if (rest.rule === "fixed") return `fixed ${formatCents(rest.cents)}`;
  const range = `${rest.rule} ${formatCents(rest.minCents)} to ${formatCents(rest.maxCents)}`;
  return rest.rule === "bell" ? `${range}, deviation ${formatCents(rest.stdDevCents)}` : range;
}

function tierCents(tiers: readonly Tier[]): number {
  return tiers.reduce((total, { cents, count }) => total + cents * count, 0);
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function sums(parts: readonly { packets: number; cents: number }[]): { packets: number; cents: number } {
  return { packets: sum(parts.map((p) => p.packets)), cents: sum(parts.map((p) => p.cents)) };
}
