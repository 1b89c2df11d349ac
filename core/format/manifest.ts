/**
 * The manifest: what a mint promises, in canonical JSON (RFC 8785), written last and signed over its exact
 * bytes. Everyone downstream (node, worker, finance) holds the seeds, journals and ledger against it.
 *
 * It names no key that anybody trusts: public keys come from key files.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { CAMPAIGN_ID } from "./campaign.ts";
import { HongbaoError } from "./error.ts";
import { canonicalJson, describeIssues } from "./json.ts";
import { type SeedHeader, seedLayout } from "./seedfile.ts";
import { campaignTag, type TokenScope } from "./token.ts";

const u16 = z.int().min(0).max(0xffff);
const count = z.int().min(0);
const hash = z.string().regex(/^[0-9a-f]{64}$/);

const manifest = z.strictObject({
  format: z.literal("hongbao.manifest.v1"),
  campaign: z.string().regex(CAMPAIGN_ID),
  mode: z.enum(["test", "live"]),
  epoch: u16.min(1),
  planHash: hash,
  budgetCents: count,
  packets: count,
  expiresAt: z.iso.datetime({ offset: true }),
  quota: z.strictObject({ perUser: z.int().min(1).max(0xffff), perAd: z.int().min(1).max(0xffff) }),
  ads: z
    .array(
      z.strictObject({ id: u16.min(1), name: z.string(), rule: z.string(), packets: count, cents: count }),
    )
    .min(1),
  shards: z
    .array(
      z.strictObject({
        shard: u16,
        packets: count,
        cents: count,
        bytes: count,
        root: hash,
        lanes: z.array(z.strictObject({ ad: u16.min(1), packets: count.min(1), cents: count })),
      }),
    )
    .min(1),
  histogram: z.array(z.strictObject({ fromCents: count, toCents: count, packets: count, cents: count })),
});

export type Manifest = z.output<typeof manifest>;
export type ManifestShard = Manifest["shards"][number];

export function encodeManifest(value: Manifest): Buffer {
  return Buffer.from(canonicalJson(value));
}

/**
 * Parses and holds the manifest against itself: every sum of lanes, shards, ads and histogram is the budget.
 * @throws HongbaoError `invalid_manifest`
 */
export function parseManifest(bytes: Uint8Array, name: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new HongbaoError("invalid_manifest", `${name} is damaged: it is not JSON; fetch it again`, {
      cause,
    });
  }
  const result = manifest.safeParse(value);
  if (!result.success)
    throw new HongbaoError(
      "invalid_manifest",
      `${name} is not a manifest, fetch it again: ${describeIssues(result.error)}`,
    );
  const fault =
    contradiction(result.data) ??
    (encodeManifest(result.data).equals(bytes) ? undefined : "its JSON is not canonical");
  if (fault !== undefined)
    throw new HongbaoError("invalid_manifest", `${name} contradicts itself, ${fault}: fetch it again`);
  return result.data;
}

/** @returns SHA-256 of the exact bytes, hex: the name under which a ledger pins it. */
export function manifestHash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function shardScope(of: Manifest, shard: ManifestShard): TokenScope {
  return {
    campaign: of.campaign,
    mode: of.mode,
    epoch: of.epoch,
    shard: shard.shard,
    packets: shard.packets,
  };
}

export function shardHeader(of: Manifest, shard: ManifestShard): SeedHeader {
  return { campaignTag: campaignTag(of.campaign), epoch: of.epoch, shard: shard.shard, lanes: shard.lanes };
}

function contradiction(value: Manifest): string | undefined {
  const total = { packets: 0, cents: 0 };
  for (const [index, shard] of value.shards.entries()) {
    if (shard.shard !== index) return `shard ${shard.shard} stands at place ${index}`;
    const lanes = sums(shard.lanes);
    if (lanes.packets !== shard.packets || lanes.cents !== shard.cents)
      return `the lanes of shard ${index} do not add up to the shard`;
    if (seedLayout(shard.lanes).fileBytes !== shard.bytes) return `shard ${index} has an impossible size`;
    total.packets += shard.packets;
    total.cents += shard.cents;
  }
  if (total.packets !== value.packets || total.cents !== value.budgetCents)
    return "its shards do not add up to the budget";
  const byAd = new Map<number, { packets: number; cents: number }>();
  for (const lane of value.shards.flatMap((shard) => shard.lanes))
    byAd.set(lane.ad, sums([byAd.get(lane.ad) ?? { packets: 0, cents: 0 }, lane]));
  for (const ad of value.ads) {
    const lanes = byAd.get(ad.id) ?? { packets: 0, cents: 0 };
    if (lanes.packets !== ad.packets || lanes.cents !== ad.cents)
      return `the lanes of ad ${ad.id} do not add up to it`;
  }
  const ads = sums(value.ads);
  const bars = sums(value.histogram);
  if (ads.packets !== value.packets || ads.cents !== value.budgetCents)
    return "its ads do not add up to the budget";
  if (bars.packets !== value.packets || bars.cents !== value.budgetCents)
    return "its histogram does not add up to the budget";
  return undefined;
}

function sums(rows: readonly { packets: number; cents: number }[]): { packets: number; cents: number } {
  return rows.reduce((sum, row) => ({ packets: sum.packets + row.packets, cents: sum.cents + row.cents }), {
    packets: 0,
    cents: 0,
  });
}
