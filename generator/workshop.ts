/**
 * Files of an epoch that only its mint uses:
 *
 *     e<epoch>/plan.json                         what is minted here; stays, for approver and auditor
 *     e<epoch>/minting/shard-NNNN.seed.part      a shard in the making
 *     e<epoch>/minting/shard-NNNN.ad-N.json      "this lane is written and read back": the resume marker
 *
 * `minting/` goes when the epoch is signed. A marker is published only after its lane is durable, and names the
 * plan, so it can never vouch for another mint's bytes. Nothing here is secret: markers say what the manifest
 * will say, and block hashes.
 */
import { join } from "node:path";
import { z } from "zod";
import { type Campaign, campaignSchema } from "../core/format/campaign.ts";
import { HongbaoError } from "../core/format/error.ts";
import { canonicalJson, describeIssues } from "../core/format/json.ts";
import type { EpochDir } from "../core/store/campaign-dir.ts";
import type { Disk } from "../core/store/disk.ts";
import { exists, publish, readSmallFile, syncDirectory } from "../core/store/durable.ts";
import type { LaneRecord } from "./lane.ts";
import { MINT_ALGORITHM } from "./plan.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0);
const planFile = z.strictObject({
  format: z.literal("hongbao.plan.v1"),
  algorithm: z.string(),
  planHash: hash,
  campaign: campaignSchema,
});
const markerFile = z.strictObject({
  format: z.literal("hongbao.lane.v1"),
  planHash: hash,
  shard: count,
  ad: count,
  tally: z.strictObject({
    packets: count,
    cents: count,
    barPackets: z.array(count),
    barCents: z.array(count),
  }),
  outOfBounds: count,
  hashes: z.base64url(),
});

export interface PlanFile {
  readonly campaign: Campaign;
  /** hex */
  readonly planHash: string;
}

/** Temporary files of `publish`, by the names that the generator publishes. */
const STRAY =
  /^\.(plan\.json|manifest\.json|manifest\.operator\.sig|(master|operator|settlement|node-\d{4,5})\.key|shard-\d{4,5}\.ad-\d+\.json)\.[0-9a-f]{12}\.tmp$/;

export class Workshop {
  private readonly epoch: EpochDir;
  /** hex */
  private readonly planHash: string;

  constructor(epoch: EpochDir, planHash: string) {
    this.epoch = epoch;
    this.planHash = planHash;
  }

  get dir(): string {
    return join(this.epoch.seedsDir, "minting");
  }

  part(shard: number): string {
    return join(this.dir, `${shardName(shard)}.seed.part`);
  }

  marker(shard: number, ad: number): string {
    return join(this.dir, `${shardName(shard)}.ad-${ad}.json`);
  }

  /** @throws HongbaoError `already_exists` */
  async writePlan(campaign: Campaign): Promise<void> {
    const file = { format: "hongbao.plan.v1", algorithm: MINT_ALGORITHM, planHash: this.planHash, campaign };
    await publish(planPath(this.epoch), canonicalJson(file), undefined, this.epoch.disk);
  }

  async writeMarker(shard: number, ad: number, record: LaneRecord): Promise<void> {
    const { tally, outOfBounds } = record;
    const hashes = Buffer.from(record.hashes).toString("base64url");
    const names = { format: "hongbao.lane.v1", planHash: this.planHash, shard, ad };
    const marker = canonicalJson({ ...names, tally, outOfBounds, hashes });
    await publish(this.marker(shard, ad), marker, undefined, this.epoch.disk);
  }

  /** @returns what an earlier run sealed in this lane, or undefined if it did not finish it */
  async readMarker(shard: number, ad: number): Promise<LaneRecord | undefined> {
    const path = this.marker(shard, ad);
    const { disk } = this.epoch;
    if (!(await exists(path, disk))) return undefined;
    const marker = await readJson(disk, path, "the lane marker", markerFile);
    if (marker.planHash !== this.planHash || marker.shard !== shard || marker.ad !== ad)
      throw new HongbaoError("mint_failed", `${path} belongs to another mint: start a new epoch`);
    const { tally, outOfBounds } = marker;
    return { tally, outOfBounds, hashes: Buffer.from(marker.hashes, "base64url") };
  }

  /**
   * What a killed run left behind: temporary files, which may hold keys, go, and names that only the page cache holds
   * become durable, or a run that finds everything done would promise what a power loss takes away. Only under the
   * campaign's lock.
   */
  async recover(): Promise<void> {
    const { of, seedsDir, keysDir, disk } = this.epoch;
    for (const dir of [of.keysDir, keysDir, seedsDir, this.dir]) {
      if (!(await exists(dir, disk))) continue;
      for (const name of await disk.list(dir)) if (STRAY.test(name)) await disk.remove(join(dir, name));
      await syncDirectory(dir, disk);
    }
  }

  async remove(): Promise<void> {
    const { disk } = this.epoch;
    if (!(await exists(this.dir, disk))) return;
    for (const name of await disk.list(this.dir)) await disk.remove(join(this.dir, name));
    await disk.removeDirectory(this.dir);
  }
}

/** @returns undefined if nothing was started in this epoch */
export async function readPlan(epoch: EpochDir): Promise<PlanFile | undefined> {
  const path = planPath(epoch);
  return (await exists(path, epoch.disk))
    ? await readJson(epoch.disk, path, "the plan", planFile)
    : undefined;
}

function planPath(epoch: EpochDir): string {
  return join(epoch.seedsDir, "plan.json");
}

function shardName(shard: number): string {
  return `shard-${shard.toString().padStart(4, "0")}`;
}

async function readJson<T>(disk: Disk, path: string, what: string, schema: z.ZodType<T>): Promise<T> {
  let value: unknown;
  try {
    value = JSON.parse((await readSmallFile(path, what, undefined, disk)).toString("utf8"));
  } catch (cause) {
    if (cause instanceof HongbaoError) throw cause;
    throw new HongbaoError("mint_failed", `${what} ${path} is damaged: start a new epoch`, { cause });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new HongbaoError(
    "mint_failed",
    `${what} ${path} is damaged (${describeIssues(result.error)}): start a new epoch`,
  );
}
