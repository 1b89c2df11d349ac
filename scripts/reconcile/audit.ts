/**
 * `--audit`: from the master key to the seeds, once more. Every key file must hold what the master key derives,
 * and minting the signed plan again must give the same bytes: then nobody who held a lesser key put another
 * packet into the seeds. Needs `master.key` and `plan.json`; what is not here is named as not checked.
 *
 * Minting writes into a temporary file (TMPDIR), one lane at a time, at most 45 bytes a packet of a lane.
 */
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HongbaoError } from "../../core/format/error.ts";
import { type KeyFile, keyBytes, keyText } from "../../core/format/keyfile.ts";
import {
  type MintIdentity,
  mintKey,
  quotaKey,
  settlementKey,
  shardKey,
  tokenRootKey,
} from "../../core/format/keyring.ts";
import { type Manifest, shardHeader } from "../../core/format/manifest.ts";
import { HASH_BYTES } from "../../core/format/merkle.ts";
import { encodeSeedHeader, seedRoot } from "../../core/format/seedfile.ts";
import type { EpochDir } from "../../core/store/campaign-dir.ts";
import { readKeyFile } from "../../core/store/keystore.ts";
import type { ManifestFile } from "../../core/store/manifest-file.ts";
import { LaneMint, seenBitmap } from "../../generator/lane.ts";
import { type LaneFile, laneFile } from "../../generator/lane-file.ts";
import { makePlan, type Plan, planHash, type ShardPlan } from "../../generator/plan.ts";
import { readPlan } from "../../generator/workshop.ts";
import type { Findings } from "./findings.ts";
import type { AuditNotes } from "./report.ts";

export async function audit(
  epoch: EpochDir,
  { manifest }: ManifestFile,
  keys: KeyFile<"settlement">,
  findings: Findings,
): Promise<AuditNotes> {
  const roles = manifest.mode === "live" ? "operator and approver" : "the operator";
  const notes = { checked: [`the manifest's signatures by ${roles}`], skipped: [] as string[] };
  const master = await readIfThere("master", epoch.of.masterKey);
  if (master === undefined) {
    notes.skipped.push(`keys and seeds: ${epoch.of.masterKey} is not here or may not be read`);
    return notes;
  }
  const secret = keyBytes(master.master);
  const mint: MintIdentity = { ...manifest, planHash: Buffer.from(manifest.planHash, "hex") };
  const fault = (detail: string) => findings.add("corrupt", undefined, detail);
  if (master.campaign !== manifest.campaign || master.mode !== manifest.mode)
    fault(`${epoch.of.masterKey} is the master key of ${master.campaign} (${master.mode})`);
  if (
    !holds(keys.settlementKey, settlementKey(secret, mint)) ||
    !holds(keys.tokenRoot, tokenRootKey(secret, mint))
  )
    fault(`${epoch.settlementKey} does not hold the keys that the master key derives`);
  else notes.checked.push("settlement key and token root, derived from the master key");
  await checkNodeKeys(epoch, manifest, secret, keys, notes, fault);
  await checkSeeds(epoch, manifest, secret, notes, fault);
  return notes;
}

interface Notes {
  readonly checked: string[];
  readonly skipped: string[];
}

async function checkNodeKeys(
  epoch: EpochDir,
  manifest: Manifest,
  master: Uint8Array,
  keys: KeyFile<"settlement">,
  notes: Notes,
  fault: (detail: string) => void,
): Promise<void> {
  const quota = quotaKey(master, manifest.campaign, manifest.mode);
  let checked = 0;
  for (const { shard } of manifest.shards) {
    const path = epoch.nodeKey(shard);
    const node = await readIfThere("node", path);
    if (node === undefined) continue;
    checked++;
    const isDerived =
      holds(node.quotaKey, quota) &&
      node.shards.every((own) => holds(own.key, shardKey(keyBytes(keys.tokenRoot), own.shard)));
    if (!isDerived) fault(`${path} does not hold the keys that the master key derives`);
    const { operator, approver } = node.publicKeys;
    if (operator !== keys.publicKeys.operator || approver !== keys.publicKeys.approver)
      fault(`${path} trusts other signing keys than the settlement key file`);
  }
  const missing = manifest.shards.length - checked;
  if (checked > 0) notes.checked.push(`${checked} node key files, derived from the master key`);
  if (missing > 0) notes.skipped.push(`${missing} node key files: not here`);
}

async function checkSeeds(
  epoch: EpochDir,
  manifest: Manifest,
  master: Uint8Array,
  notes: Notes,
  fault: (detail: string) => void,
): Promise<void> {
  const file = await readPlan(epoch);
  if (file === undefined) {
    notes.skipped.push("the mint itself: plan.json is not beside the manifest");
    return;
  }
  const plan = makePlan(file.campaign);
  const hash = planHash(file.campaign, plan);
  if (hash.toString("hex") !== manifest.planHash) {
    fault("plan.json does not make the plan whose hash the manifest names");
    return;
  }
  const wrong = mintAgain(manifest, plan, { ...manifest, planHash: hash }, master);
  for (const shard of wrong)
    fault(`shard ${shard}: minting it again gives other bytes than the manifest's root`);
  if (wrong.length === 0) notes.checked.push("every seed file, minted again to the same root");
}

/** @returns the shards whose root is not the manifest's. */
function mintAgain(manifest: Manifest, plan: Plan, mint: MintIdentity, master: Uint8Array): number[] {
  const { campaign, mode, epoch } = manifest;
  const secrets = {
    campaign,
    mode,
    epoch,
    mintKey: mintKey(master, mint),
    settlementKey: settlementKey(master, mint),
    tokenRoot: tokenRootKey(master, mint),
  };
  const lanes = new LaneMint(secrets, () => {});
  const dir = mkdtempSync(join(tmpdir(), "hongbao-audit-"));
  const fd = openSync(join(dir, "lane"), "wx+", 0o600);
  const file = laneFile(fd);
  try {
    const wrong = manifest.shards.filter((shard) => {
      const planned = plan.shards[shard.shard];
      if (planned === undefined) return true;
      const header = encodeSeedHeader(shardHeader(manifest, shard));
      return seedRoot(header, mintShard(lanes, planned, file)).toString("hex") !== shard.root;
    });
    return wrong.map(({ shard }) => shard);
  } finally {
    closeSync(fd);
    rmSync(dir, { recursive: true, force: true });
  }
}

/** @returns the leaf hashes of the shard's blocks. Each lane overwrites the one before it in `file`. */
function mintShard(mint: LaneMint, { shard, packets, lanes }: ShardPlan, file: LaneFile): Buffer[] {
  const hashes: Buffer[] = [];
  let firstPacket = 0;
  for (const lane of lanes) {
    const task = { shard, shardPackets: packets, lane, firstPacket, recordsAt: 0, seen: seenBitmap(packets) };
    mint.write(task, file);
    const sealed = Buffer.from(mint.read(task, file).hashes);
    for (let at = 0; at < sealed.length; at += HASH_BYTES) hashes.push(sealed.subarray(at, at + HASH_BYTES));
    firstPacket += lane.packets;
  }
  return hashes;
}

function holds(text: string, derived: Uint8Array): boolean {
  return text === keyText(derived);
}

/** An auditor may lack a file, or the right to read it: that is a note, not an error. */
async function readIfThere<K extends "master" | "node">(
  kind: K,
  path: string,
): Promise<KeyFile<K> | undefined> {
  try {
    return await readKeyFile(kind, path);
  } catch (error) {
    const isAbsent =
      error instanceof HongbaoError && ["missing_key_file", "unreadable_file"].includes(error.code);
    if (isAbsent) return undefined;
    throw error;
  }
}
