/**
 * The second pair of eyes: an approver signs the manifest's exact bytes, on a machine of his own.
 *
 * He signs only what can be derived: the manifest is made again from the campaign file that lies beside it, and
 * but for the roots and the histogram, which only the mint knows, must come out byte for byte. Its plan hash also
 * binds the public keys that the campaign names. Whether the seed files have the roots is checked by every node.
 */
import type { Campaign } from "../core/format/campaign.ts";
import { HongbaoError } from "../core/format/error.ts";
import { encodeManifest } from "../core/format/manifest.ts";
import { manifestSignatureHolds, signManifest } from "../core/format/signature.ts";
import { CampaignDir, type EpochDir, type Roots } from "../core/store/campaign-dir.ts";
import { publish, readSmallFile } from "../core/store/durable.ts";
import { type ManifestFile, readManifest } from "../core/store/manifest-file.ts";
import { readSigningKey } from "./keys.ts";
import { makePlan, planHash } from "./plan.ts";
import { manifestOf } from "./publish.ts";
import { readPlan } from "./workshop.ts";

export interface ApproveOptions {
  readonly roots: Roots;
  readonly campaign: string;
  /** the highest complete one unless given */
  readonly epoch?: number;
  /** the approver's signing key */
  readonly keyFile: string;
}

/** What was approved, for the approver to read. */
export interface Approval {
  readonly campaign: string;
  readonly mode: "test" | "live";
  readonly epoch: number;
  readonly packets: number;
  readonly budgetCents: number;
  /** SHA-256 of the manifest, hex */
  readonly manifest: string;
  readonly signature: string;
}

/**
 * @throws HongbaoError `missing_file`, `invalid_manifest`, `missing_signature`, `invalid_signature`,
 * `missing_key_file`, `key_mismatch`, `already_exists`
 */
export async function approve({ roots, campaign, epoch, keyFile }: ApproveOptions): Promise<Approval> {
  const dir = await new CampaignDir(roots, campaign).completeEpoch(epoch);
  const file = await readManifest(dir);
  const { keys } = await campaignOf(dir, file);
  const key = await readSigningKey(keyFile, "approver", keys?.approver, dir.disk);
  await checkOperator(dir, file, keys?.operator);
  const path = dir.signature("approver");
  await publish(path, signManifest(key, file.bytes), undefined, dir.disk);
  const { mode, packets, budgetCents } = file.manifest;
  return { campaign, mode, epoch: dir.epoch, packets, budgetCents, manifest: file.hash, signature: path };
}

async function campaignOf(dir: EpochDir, { manifest, bytes }: ManifestFile): Promise<Campaign> {
  const plan = await readPlan(dir);
  if (plan === undefined)
    throw new HongbaoError(
      "missing_file",
      `${dir.seedsDir}/plan.json is missing: fetch it, an approver signs only a plan he can derive`,
    );
  const { campaign } = plan;
  const derived = makePlan(campaign);
  const of = { campaign, plan: derived, planHash: planHash(campaign, derived), epoch: dir };
  const roots = manifest.shards.map(({ root }) => Buffer.from(root, "hex"));
  if (!encodeManifest(manifestOf(of, roots, manifest.histogram)).equals(bytes))
    throw new HongbaoError(
      "invalid_manifest",
      `${dir.manifest} is not the manifest of the plan beside it: do not sign it, ask the operator`,
    );
  return campaign;
}

/** @param publicKey unknown for a test campaign without keys: then the signature only has to be there */
async function checkOperator(
  dir: EpochDir,
  { bytes }: ManifestFile,
  publicKey: string | undefined,
): Promise<void> {
  const path = dir.signature("operator");
  let signature: string;
  try {
    signature = (await readSmallFile(path, "the operator's signature", 1024, dir.disk))
      .toString("utf8")
      .trim();
  } catch (cause) {
    if (!(cause instanceof HongbaoError) || cause.code !== "missing_file") throw cause;
    throw new HongbaoError("missing_signature", `${path} is missing: the operator signs first`, { cause });
  }
  if (publicKey !== undefined && !manifestSignatureHolds(publicKey, bytes, signature))
    throw new HongbaoError("invalid_signature", `${path} is not the operator's signature over this manifest`);
}
