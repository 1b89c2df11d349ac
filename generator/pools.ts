/**
 * Who pays for which packets. A pool is a set of ads with one budget and one rule:
 *
 *     an ad with a budget or a split of its own    a pool of its own
 *     all the other ads together                   the campaign's split and what the others leave of its budget
 *
 * Packets first: an ad has the number it names; the ads that name none share the rest by weight. Then cents: a
 * pool has the budget it names, or what its fixed amounts come to; what is left is shared by packets. All of it
 * adds up to the campaign exactly or is refused. An ad with its own budget and the campaign's split follows the
 * rest rule of a tiered campaign: the tiers belong to the ads that share the campaign's budget.
 */
import type { Ad, Campaign, Split } from "../core/format/campaign.ts";
import { apportion } from "./apportion.ts";
import { type Field, impliedCents, refuse, resolveRule } from "./possible.ts";
import type { RestRule, Tier } from "./split.ts";

interface PoolAd {
  /** place in the campaign's list */
  readonly index: number;
  readonly id: number;
  readonly packets: number;
}

export interface Pool {
  readonly ads: readonly PoolAd[];
  readonly packets: number;
  readonly cents: number;
  readonly tiers: readonly Tier[];
  readonly rest: RestRule;
}

interface Draft {
  readonly name: string;
  readonly ads: readonly PoolAd[];
  readonly packets: number;
  readonly split: Split;
  /** the ad that is a pool of its own; undefined for the shared one */
  readonly own?: Ad | undefined;
  readonly cents?: number | undefined;
}

/** @throws HongbaoError `invalid_campaign` */
export function resolvePools(campaign: Campaign): Pool[] {
  const drafts = draftPools(campaign, adPackets(campaign));
  const budgets = poolCents(campaign, drafts);
  return drafts.map((draft, i) => {
    const cents = budgets[i] ?? 0;
    const fields = openFields(campaign, draft, drafts, cents);
    const { tiers, rest } = resolveRule({ ...draft, cents, ...fields });
    return { ads: draft.ads, packets: draft.packets, cents, tiers, rest };
  });
}

/** Packets of every ad, in the campaign's order; together the campaign's. */
function adPackets(campaign: Campaign): number[] {
  const named = campaign.ads.reduce((sum, ad) => sum + BigInt(ad.packets ?? 0), 0n);
  const sharing = campaign.ads.filter((ad) => ad.packets === undefined);
  const total = BigInt(campaign.packets);
  if (named > total || (sharing.length === 0 && named !== total))
    refuse(
      `the ads' own packets add up to ${named}, the campaign has ${total}`,
      named <= BigInt(Number.MAX_SAFE_INTEGER)
        ? `set packets to ${named + BigInt(sharing.length)}`
        : undefined,
      "change the ads' packets",
    );
  if (sharing.length > 0 && named === total)
    refuse(
      `the ads' own packets are all ${total} of the campaign and leave none for ad ${sharing[0]?.id}`,
      `raise packets to ${total + BigInt(sharing.length)}`,
    );
  const shares = apportion(
    Number(total - named),
    campaign.ads.map((ad) => (ad.packets === undefined ? ad.weight : 0)),
  );
  return campaign.ads.map((ad, i) => ad.packets ?? shares[i] ?? 0);
}

function draftPools(campaign: Campaign, packets: readonly number[]): Draft[] {
  const ads = campaign.ads.map((ad, index) => ({ index, id: ad.id, packets: packets[index] ?? 0 }));
  const shared = ads.filter(({ index }) => !isOwnPool(campaign.ads[index]));
  const { split } = campaign;
  const heirs = campaign.ads.filter((ad) => ad.split === undefined);
  if (split.rule === "tiers" && shared.length === 0 && heirs.length > 0)
    refuse(
      "the campaign's tiers reach no ad, because every ad has a budget or a split of its own",
      `give ad ${heirs[0]?.id} the tiers as its split`,
    );
  const own = campaign.ads.flatMap((ad, index): Draft[] => {
    const place = ads[index];
    if (place === undefined || !isOwnPool(ad)) return [];
    const inherited = split.rule === "tiers" ? split.rest : split;
    const pool = { name: `ad ${ad.id} (${ad.name})`, ads: [place], packets: place.packets, own: ad };
    return [{ ...pool, split: ad.split ?? inherited, cents: ad.budgetCents }];
  });
  if (shared.length === 0) return own;
  const name = own.length === 0 ? "the campaign" : `the campaign's part for ${list(shared)}`;
  return [{ name, ads: shared, packets: total(shared), split }, ...own];
}

function isOwnPool(ad: Ad | undefined): boolean {
  return ad?.split !== undefined || ad?.budgetCents !== undefined;
}

/** Cents of every pool; together the campaign's budget. */
function poolCents(campaign: Campaign, drafts: readonly Draft[]): number[] {
  const known = drafts.map(knownCents);
  const named = known.reduce<bigint>((sum, cents) => sum + (cents ?? 0n), 0n);
  const left = BigInt(campaign.budgetCents) - named;
  const sharing = drafts.filter((_, i) => known[i] === undefined);
  const [only] = drafts;
  // One pool is simply held against the budget: its own refusal says more than "does not add up".
  if (drafts.length === 1 && only !== undefined && only.cents === undefined) return [campaign.budgetCents];
  if (left < 0n || (sharing.length === 0 && left !== 0n))
    refuse(
      `the ads' budgets and fixed amounts add up to ${named} cents, the campaign's budget is ${campaign.budgetCents}`,
      named <= BigInt(Number.MAX_SAFE_INTEGER) && sharing.length === 0
        ? `set budgetCents to ${named}`
        : `raise budgetCents above ${named}`,
      "change the ads' budgetCents",
    );
  if (left > 0n && total(sharing) === 0)
    refuse(
      `${left} cents are left for ${list(sharing.flatMap(({ ads }) => ads))}, which have no packets`,
      `lower budgetCents to ${named}`,
    );
  const shares = apportion(
    Number(left),
    drafts.map((draft, i) => (known[i] === undefined ? draft.packets : 0)),
  );
  return drafts.map((_, i) => Number(known[i] ?? shares[i] ?? 0));
}

function knownCents(draft: Draft): bigint | undefined {
  if (draft.cents !== undefined) {
    if (draft.packets === 0)
      refuse(
        `${draft.name} has a budget of ${draft.cents} cents, but its weight gives it no packet`,
        "give it packets of its own",
      );
    return BigInt(draft.cents);
  }
  return impliedCents(draft.split, draft.packets);
}

/** Which numbers of the campaign file would change this pool, and this pool only. */
function openFields(
  campaign: Campaign,
  draft: Draft,
  drafts: readonly Draft[],
  cents: number,
): { budgetField?: Field | undefined; packetsField?: Field | undefined } {
  const { own } = draft;
  if (own !== undefined) {
    const ownPackets =
      own.packets === undefined ? undefined : { label: `packets of ad ${own.id}`, beside: 0 };
    return { budgetField: { label: `budgetCents of ad ${own.id}`, beside: 0 }, packetsField: ownPackets };
  }
  const others = drafts.filter((other) => other !== draft);
  const othersKnown = others.every((other) => knownCents(other) !== undefined);
  const othersPackets = others.every((other) => other.own?.packets !== undefined);
  const adsShare = draft.ads.some(({ index }) => campaign.ads[index]?.packets === undefined);
  return {
    budgetField: othersKnown ? { label: "budgetCents", beside: campaign.budgetCents - cents } : undefined,
    packetsField:
      othersPackets && adsShare ? { label: "packets", beside: campaign.packets - draft.packets } : undefined,
  };
}

function total(parts: readonly { packets: number }[]): number {
  return parts.reduce((sum, { packets }) => sum + packets, 0);
}

function list(ads: readonly { id: number }[]): string {
  const ids = ads.slice(0, 5).map(({ id }) => id);
  return `ad${ads.length === 1 ? "" : "s"} ${ids.join(", ")}${ads.length > 5 ? " …" : ""}`;
}
