/**
 * The offline generator: campaign -> plan -> split -> seal -> publish. Runs on the operator's machine, needs no
 * network, and overwrites nothing, ever.
 *
 * A mint that dies anywhere leaves an epoch without a signed manifest, which nobody accepts; `resume` finishes
 * it to the very bytes the dead run would have made. Without `resume` a mint takes an epoch of its own. A lock
 * on the campaign, freed by the kernel, keeps two generators apart.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { type Campaign, parseCampaign } from "../core/format/campaign.ts";
import { HongbaoError } from "../core/format/error.ts";
import {
  KEY_BYTES,
  type MintIdentity,
  mintKey,
  settlementKey,
  tokenRootKey,
} from "../core/format/keyring.ts";
import type { Manifest } from "../core/format/manifest.ts";
import { CampaignDir, type EpochDir, type Roots } from "../core/store/campaign-dir.ts";
import { exists, fileProblem, makeDirectory } from "../core/store/durable.ts";
import { takeLock } from "../core/store/lock.ts";
import { readManifest } from "../core/store/manifest-file.ts";
import { balance } from "./books.ts";
import { type ChosenEpoch, chooseEpoch } from "./epoch.ts";
import { findKeys, findMaster, makeKeys } from "./keys.ts";
import type { MintSecrets } from "./lane.ts";
import { draft, mint } from "./mint.ts";
import { makePlan, type Plan, planHash } from "./plan.ts";
import { type EpochIdentity, publishKeyFiles, publishManifest, publishShard } from "./publish.ts";
import { type GenerateReport, reportRows } from "./summary.ts";
import { histogram } from "./tally.ts";
import { type MintProgress, runLanes as onThreads, type RunLanes } from "./threads.ts";
import { Workshop } from "./workshop.ts";

/** Sealed tokens are nothing without keys: the programs that serve them may run as other users. */
const SEEDS_DIRECTORY = 0o755;

export interface GenerateOptions {
  readonly roots: Roots;
  /** the campaign file's text */
  readonly campaignText: string;
  /** the operator's signing key; a live campaign needs it */
  readonly operatorKeyFile?: string;
  /** threads that mint */
  readonly workers: number;
  /** count and draw everything, write nothing */
  readonly dryRun: boolean;
  /** finish what an earlier run began in the highest epoch; begin if none has */
  readonly resume: boolean;
}

export interface GenerateWorld {
  readonly nowMs: number;
  readonly progress: MintProgress;
  /** On threads of this process, if not given. */
  readonly runLanes?: RunLanes;
}

/** What is to be minted, wherever it will lie. */
interface Job {
  readonly campaign: Campaign;
  readonly plan: Plan;
  readonly hash: Buffer;
  readonly dir: CampaignDir;
  readonly startedMs: number;
}

/**
 * @throws HongbaoError `invalid_campaign`, `missing_key_file`, `key_mismatch`, `locked`, `already_exists`,
 * `mint_failed`
 */
export async function generate(options: GenerateOptions, world: GenerateWorld): Promise<GenerateReport> {
  const startedMs = performance.now();
  if (!Number.isInteger(options.workers) || options.workers < 1)
    throw new HongbaoError("usage", "the number of workers must be a whole number of at least 1");
  const campaign = parseCampaign(options.campaignText);
  const plan = makePlan(campaign);
  if (Date.parse(campaign.expiresAt) <= world.nowMs)
    throw new HongbaoError(
      "invalid_campaign",
      `expiresAt ${campaign.expiresAt} is in the past: nobody could open a packet; set a later time`,
    );
  const dir = new CampaignDir(options.roots, campaign.campaign);
  const job: Job = { campaign, plan, hash: planHash(campaign, plan), dir, startedMs };
  if (options.dryRun) return dryRun(job, options, world);
  // Keys that do not fit are refused before anything is created.
  await findKeys(campaign, dir, options.operatorKeyFile);
  const what = `the mint of campaign ${campaign.campaign}`;
  const lock = await takeLock(join(dir.seedsDir, "mint.lock"), what, SEEDS_DIRECTORY, dir.disk);
  try {
    const chosen = await chooseEpoch(dir, job.hash, options.resume);
    const workshop = new Workshop(chosen.epoch, job.hash.toString("hex"));
    await workshop.recover();
    if (chosen.state === "complete") {
      await workshop.remove();
      return await alreadyComplete(job, chosen.epoch);
    }
    // Read again under the lock: a generator that ended a moment ago may have made the keys.
    const found = await findKeys(campaign, dir, options.operatorKeyFile);
    // Lanes of two keys in one epoch would be of no use under either.
    if (chosen.state === "started" && found.master === undefined)
      throw new HongbaoError(
        "missing_key_file",
        `epoch ${chosen.epoch.epoch} was begun under a master key that is not at ${dir.masterKey}: set KEYS_DIR right, or run without --resume to mint a new epoch`,
      );
    const keys = await makeKeys(campaign, dir, found);
    return await mintEpoch(job, chosen, workshop, keys, options, world);
  } finally {
    lock.release();
  }
}

async function mintEpoch(
  job: Job,
  { epoch, state, warnings }: ChosenEpoch,
  workshop: Workshop,
  keys: Awaited<ReturnType<typeof makeKeys>>,
  { workers }: GenerateOptions,
  { progress, runLanes = onThreads }: GenerateWorld,
): Promise<GenerateReport> {
  const { campaign, plan, hash } = job;
  const of: EpochIdentity = { campaign, plan, planHash: hash, epoch };
  const secrets = mintSecrets(job, keys.master, epoch.epoch);
  await makeDirectory(epoch.seedsDir, undefined, epoch.disk);
  // If we die here, the epoch is started but empty: a resumed run begins in it, a new one takes the next.
  if (state === "new") await workshop.writePlan(campaign);
  await publishKeyFiles(of, secrets, keys);
  const minted = await mint({ plan, secrets, workers, runLanes }, epoch, workshop, progress);
  const { tally, checks } = balance(plan, minted);
  const roots: Buffer[] = [];
  for (const shard of minted.shards) roots.push(await publishShard(of, workshop, shard));
  const manifest = await publishManifest(of, roots, tally, keys.operator);
  // If we die here, the epoch is complete and the workshop is left over: the next `--resume` clears it away.
  await workshop.remove();
  return {
    ...(await report(job, epoch, manifest, minted.resumedLanes)),
    checks,
    warnings: [...warnings, ...planWarnings(plan)],
    files: await filesOf(epoch, plan),
  };
}

async function dryRun(job: Job, { resume, workers }: GenerateOptions, world: GenerateWorld) {
  const { campaign, plan, dir, hash } = job;
  // Under the real master key a dry run draws what the mint will draw; without one, any key will do.
  const master = (await findMaster(campaign, dir)) ?? randomBytes(KEY_BYTES);
  const { epoch, warnings } = await chooseEpoch(dir, hash, resume);
  const secrets = mintSecrets(job, master, epoch.epoch);
  const { tally, checks } = balance(
    plan,
    await draft({ plan, secrets, workers, runLanes: onThreads }, world.progress),
  );
  const rows = reportRows(plan);
  return {
    ...(await report(job, epoch, { ...plan, histogram: histogram(tally) }, 0)),
    dryRun: true,
    checks,
    warnings: [...warnings, ...planWarnings(plan)],
    files: rows.shards.map(({ shard, bytes }) => ({ path: epoch.seed(shard), bytes })),
    next: "hongbao generate FILE",
  };
}

/** An answer, not an error: whoever resumes wants a complete epoch, and this is one. */
async function alreadyComplete(job: Job, epoch: EpochDir): Promise<GenerateReport> {
  const { manifest } = await readManifest(epoch);
  const all = await report(job, epoch, manifest, reportRows(manifest).lanes);
  return { ...all, alreadyComplete: true, files: await filesOf(epoch, job.plan) };
}

/** What every report says; each kind of run then adds its own. */
async function report(
  { campaign, plan, hash, startedMs }: Job,
  epoch: EpochDir,
  { histogram: bars }: Pick<Manifest, "histogram">,
  resumedLanes: number,
): Promise<GenerateReport> {
  const { ads, shards, lanes } = reportRows(plan);
  const approved = campaign.mode === "test" || (await exists(epoch.signature("approver"), epoch.disk));
  return {
    campaign: campaign.campaign,
    mode: campaign.mode,
    epoch: epoch.epoch,
    planHash: hash.toString("hex"),
    dryRun: false,
    alreadyComplete: false,
    packets: plan.packets,
    budgetCents: plan.cents,
    expiresAt: campaign.expiresAt,
    ads,
    shards,
    histogram: bars,
    files: [],
    checks: [],
    warnings: [],
    lanes: { total: lanes, resumed: resumedLanes },
    durationMs: Math.round(performance.now() - startedMs),
    next: approved ? `hongbao up ${campaign.campaign}` : `hongbao approve ${campaign.campaign} --key FILE`,
  };
}

function mintSecrets({ campaign, hash }: Job, master: Buffer, epoch: number): MintSecrets {
  const identity: MintIdentity = {
    campaign: campaign.campaign,
    mode: campaign.mode,
    epoch,
    planHash: hash,
  };
  return {
    campaign: campaign.campaign,
    mode: campaign.mode,
    epoch,
    mintKey: mintKey(master, identity),
    settlementKey: settlementKey(master, identity),
    tokenRoot: tokenRootKey(master, identity),
  };
}

function planWarnings({ ads }: Plan): string[] {
  return ads
    .filter(({ packets }) => packets === 0)
    .map(({ id, name }) => `ad ${id} (${name}) gets no packet: raise its weight or the number of packets`);
}

async function filesOf(epoch: EpochDir, { shards }: Plan): Promise<{ path: string; bytes: number }[]> {
  const paths = [
    epoch.manifest,
    epoch.signature("operator"),
    ...shards.map(({ shard }) => epoch.seed(shard)),
    epoch.settlementKey,
    ...shards.map(({ shard }) => epoch.nodeKey(shard)),
  ];
  const size = async (path: string) => {
    const found = await epoch.disk.stat(path).catch((cause) => {
      throw fileProblem(cause, path, "a file of this epoch,");
    });
    return { path, bytes: found.size };
  };
  return Promise.all(paths.map(size));
}
