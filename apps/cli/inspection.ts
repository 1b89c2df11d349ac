/**
 * What a token says of itself, and, with the settlement key at hand, what it seals.
 */
import { readdir } from "node:fs/promises";
import { checksumHolds } from "../../core/format/checksum.ts";
import { keyBytes } from "../../core/format/keyfile.ts";
import { shardKey, shardKeys } from "../../core/format/keyring.ts";
import { shardScope } from "../../core/format/manifest.ts";
import { formatCents } from "../../core/format/money.ts";
import { formatPacket } from "../../core/format/packet.ts";
import { campaignTag, readTokenNonce, TOKEN_HEADER, tokenOpener } from "../../core/format/token.ts";
import { CampaignDir, type Roots } from "../../core/store/campaign-dir.ts";
import { exists } from "../../core/store/durable.ts";
import { readKeyFile } from "../../core/store/keystore.ts";
import { readManifest } from "../../core/store/manifest-file.ts";

export interface Inspection {
  readonly version: number;
  readonly campaignTag: string;
  readonly packet: string;
  readonly campaign: string | null;
  /** "sealed": no settlement key here; "invalid": it does not open; "genuine": it opens and would be credited. */
  readonly verdict: "sealed" | "invalid" | "checksum-mismatch" | "genuine";
  readonly cents?: number;
  readonly ad?: number;
}

export async function inspect(token: Uint8Array, at: Roots): Promise<Inspection> {
  const nonce = readTokenNonce(token);
  const said = {
    version: TOKEN_HEADER >> 4,
    campaignTag: nonce.campaignTag.toString(16).padStart(8, "0"),
    packet: formatPacket(nonce),
  };
  const campaign = await campaignOf(nonce.campaignTag, at);
  if (campaign === undefined) return { ...said, campaign: null, verdict: "sealed" };
  const epoch = new CampaignDir(at, campaign).epoch(nonce.epoch);
  if (!(await exists(epoch.settlementKey)) || !(await exists(epoch.manifest)))
    return { ...said, campaign, verdict: "sealed" };
  const { manifest } = await readManifest(epoch);
  const shard = manifest.shards[nonce.shard];
  if (shard === undefined) return { ...said, campaign, verdict: "invalid" };
  const file = await readKeyFile("settlement", epoch.settlementKey);
  const key = shardKeys(shardKey(keyBytes(file.tokenRoot), nonce.shard)).token;
  const packet = tokenOpener(key, shardScope(manifest, shard))(token);
  if (packet === undefined) return { ...said, campaign, verdict: "invalid" };
  const { cents, ad, checksum } = packet;
  const genuine = checksumHolds(keyBytes(file.settlementKey), { ...nonce, cents, ad }, checksum);
  return { ...said, campaign, verdict: genuine ? "genuine" : "checksum-mismatch", cents, ad };
}

/** The campaign under SEEDS_DIR whose tag this is. */
async function campaignOf(tag: number, at: Roots): Promise<string | undefined> {
  const names = await readdir(at.seedsDir, { withFileTypes: true }).catch(() => []);
  return names.find((entry) => entry.isDirectory() && campaignTag(entry.name) === tag)?.name;
}

export function describe(inspection: Inspection): string {
  const meaning = {
    sealed: "sealed; the settlement key is not here to open it",
    invalid: "NOT GENUINE: it does not open under this campaign's keys",
    "checksum-mismatch": "NOT GENUINE: sealed with a node's key, but not by the mint; it is never credited",
    genuine: "genuine",
  }[inspection.verdict];
  const rows: [string, string][] = [
    ["packet", inspection.packet],
    ["campaign", inspection.campaign ?? `unknown here (tag ${inspection.campaignTag})`],
    ["verdict", meaning],
  ];
  if (inspection.cents !== undefined) rows.push(["amount", formatCents(inspection.cents)]);
  if (inspection.ad !== undefined) rows.push(["ad", String(inspection.ad)]);
  return rows.map(([name, value]) => `${name.padEnd(10)}${value}\n`).join("");
}
