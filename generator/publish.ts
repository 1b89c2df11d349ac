/**
 * From minted lanes to an epoch that others may use. The order is the promise: key files, then seed files, then
 * the manifest, then the operator's signature; who finds the manifest finds everything it speaks of. Every step
 * is exclusive and deterministic, so a resumed run repeats it: what exists must be byte for byte what would have
 * been written, and is otherwise refused, never replaced.
 */
import { dirname } from "node:path";
import type { Campaign } from "../core/format/campaign.ts";
import { HongbaoError, systemCode } from "../core/format/error.ts";
import { formatKeyFile, type KeyFile, keyText } from "../core/format/keyfile.ts";
import { quotaKey, shardKey } from "../core/format/keyring.ts";
import { encodeManifest, type Manifest, parseManifest } from "../core/format/manifest.ts";
import { HASH_BYTES } from "../core/format/merkle.ts";
import { encodeSeedHeader, seedLayout, seedRoot } from "../core/format/seedfile.ts";
import { type SigningKey, signManifest } from "../core/format/signature.ts";
import { campaignTag } from "../core/format/token.ts";
import type { EpochDir } from "../core/store/campaign-dir.ts";
import type { Disk } from "../core/store/disk.ts";
import {
  exists,
  makeDirectory,
  publish,
  readSmallFile,
  SECRET_MODE,
  syncDirectory,
} from "../core/store/durable.ts";
import type { MintKeys } from "./keys.ts";
import type { MintSecrets } from "./lane.ts";
import type { MintedShard } from "./mint.ts";
import type { Plan } from "./plan.ts";
import { type Bar, histogram, type Tally } from "./tally.ts";
import type { Workshop } from "./workshop.ts";

export interface EpochIdentity {
  readonly campaign: Campaign;
  readonly plan: Plan;
  readonly planHash: Buffer;
  readonly epoch: EpochDir;
}

/** Before the mint: keys that do not fit must not be found after an hour's work. */
export async function publishKeyFiles(
  { campaign, planHash, plan, epoch }: EpochIdentity,
  secrets: MintSecrets,
  keys: MintKeys,
): Promise<void> {
  const names = { campaign: campaign.campaign, mode: campaign.mode, epoch: epoch.epoch };
  const mint = { ...names, planHash: keyText(planHash) };
  const approver = campaign.keys === undefined ? {} : { approver: campaign.keys.approver };
  const publicKeys = { operator: keys.operator.publicKey, ...approver };
  const settlement: KeyFile<"settlement"> = {
    format: "hongbao.settlement-key.v1",
    ...mint,
    settlementKey: keyText(secrets.settlementKey),
    tokenRoot: keyText(secrets.tokenRoot),
    publicKeys,
  };
  await publishSame(epoch, epoch.settlementKey, formatKeyFile<"settlement">(settlement), SECRET_MODE);
  for (const { shard } of plan.shards) {
    const node: KeyFile<"node"> = {
      format: "hongbao.node-key.v1",
      ...mint,
      shards: [{ shard, key: keyText(shardKey(secrets.tokenRoot, shard)) }],
      quotaKey: keyText(quotaKey(keys.master, campaign.campaign, campaign.mode)),
      publicKeys,
    };
    await publishSame(epoch, epoch.nodeKey(shard), formatKeyFile<"node">(node), SECRET_MODE);
  }
}

/**
 * Completes a shard's file with header and hash table and gives it its name.
 * @returns the shard's Merkle root
 */
export async function publishShard(
  { campaign, epoch }: EpochIdentity,
  workshop: Workshop,
  { plan, records }: MintedShard,
): Promise<Buffer> {
  const tag = campaignTag(campaign.campaign);
  const header = encodeSeedHeader({ campaignTag: tag, epoch: epoch.epoch, ...plan });
  const hashes = Buffer.concat(records.map((record) => record.hashes));
  const head = Buffer.concat([header, hashes]);
  const [part, path] = [workshop.part(plan.shard), epoch.seed(plan.shard)];
  const { disk } = epoch;
  if (await exists(path, disk)) await checkHead(disk, path, head);
  else {
    await writeHead(disk, part, head);
    // If we die here, the file is whole but nameless: the resumed run writes the same head and names it.
    await linkExclusively(disk, part, path);
  }
  // If we die here, the file may still be writable: the resumed run comes by again. Not earlier, or a resumed
  // run could not open the unfinished file.
  await disk.chmod(path, 0o444);
  const leaves = Array.from({ length: hashes.length / HASH_BYTES }, (_, i) =>
    hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  );
  return seedRoot(header, leaves);
}

/** @returns the manifest that now lies in its place, with the operator's signature beside it */
export async function publishManifest(
  of: EpochIdentity,
  roots: readonly Buffer[],
  tally: Tally,
  operator: SigningKey,
): Promise<Manifest> {
  const { epoch } = of;
  const bytes = encodeManifest(manifestOf(of, roots, histogram(tally)));
  const manifest = parseManifest(bytes, "the new manifest");
  await publishSame(epoch, epoch.manifest, bytes);
  // If we die here, nobody accepts the epoch, for want of a signature; the resumed run adds it.
  await publishSame(epoch, epoch.signature("operator"), signManifest(operator, bytes));
  return manifest;
}

/**
 * The manifest of a plan: all of it follows from the campaign but for the roots and the histogram.
 * @param roots Merkle roots of the shards, in order
 */
export function manifestOf(
  { campaign, plan, planHash, epoch }: EpochIdentity,
  roots: readonly Buffer[],
  bars: readonly Bar[],
): Manifest {
  return {
    format: "hongbao.manifest.v1",
    campaign: campaign.campaign,
    mode: campaign.mode,
    epoch: epoch.epoch,
    planHash: planHash.toString("hex"),
    budgetCents: campaign.budgetCents,
    packets: campaign.packets,
    expiresAt: campaign.expiresAt,
    quota: campaign.quota,
    ads: [...plan.ads],
    shards: plan.shards.map(({ shard, packets, cents, lanes }, i) => ({
      shard,
      packets,
      cents,
      bytes: seedLayout(lanes).fileBytes,
      root: roots[i]?.toString("hex") ?? "",
      lanes: lanes.map((lane) => ({ ad: lane.ad, packets: lane.packets, cents: lane.cents })),
    })),
    histogram: bars.map((bar) => ({ ...bar })),
  };
}

/** Publishes, or finds the very same bytes published by an earlier run. */
async function publishSame(
  { disk }: EpochDir,
  path: string,
  bytes: Buffer | string,
  mode?: number,
): Promise<void> {
  if (!(await exists(path, disk))) return publish(path, bytes, mode, disk);
  if (!(await readSmallFile(path, "the file of an earlier run", undefined, disk)).equals(Buffer.from(bytes)))
    throw new HongbaoError(
      "already_exists",
      `${path} exists and is not what this mint makes; nothing is ever overwritten: resume with the same --key, or mint a new epoch`,
    );
  // The earlier run may have died before its name, or that of its directory, was on the disk.
  await makeDirectory(dirname(path), undefined, disk);
  await syncDirectory(dirname(path), disk);
}

async function writeHead(disk: Disk, part: string, head: Buffer): Promise<void> {
  const handle = await disk.open(part, "r+");
  try {
    // Not `write`, which may write less: a full disk must be an error here and not a bad file at the show.
    await handle.writeFile(head);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function checkHead(disk: Disk, path: string, head: Buffer): Promise<void> {
  const handle = await disk.open(path, "r");
  try {
    const actual = Buffer.alloc(head.length);
    await handle.read(actual, 0, head.length, 0);
    if (actual.equals(head)) return;
  } finally {
    await handle.close();
  }
  throw new HongbaoError("already_exists", `${path} exists and is not of this mint: mint a new epoch`);
}

/** A rename would replace what is there; a link never does. The second name goes with the workshop. */
async function linkExclusively(disk: Disk, part: string, path: string): Promise<void> {
  try {
    await disk.link(part, path);
  } catch (cause) {
    if (systemCode(cause) !== "EEXIST") throw cause;
    throw new HongbaoError("already_exists", `${path} exists; nothing is ever overwritten`, { cause });
  }
  await syncDirectory(dirname(path), disk);
}
