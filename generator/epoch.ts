/**
 * Which epoch a run works on. Without `resume` always a new one, above every epoch that was ever started, so a
 * new mint touches no earlier one, finished or not. With `resume` the highest started one, and only for the
 * plan it was started with.
 */
import { HongbaoError } from "../core/format/error.ts";
import { keyBytes } from "../core/format/keyfile.ts";
import type { CampaignDir, EpochDir } from "../core/store/campaign-dir.ts";
import { exists } from "../core/store/durable.ts";
import { readKeyFile } from "../core/store/keystore.ts";
import { readManifest } from "../core/store/manifest-file.ts";
import { readPlan } from "./workshop.ts";

const EPOCH_MAX = 0xffff;

export interface ChosenEpoch {
  readonly epoch: EpochDir;
  /** new: no plan is written yet; started: an earlier run's plan is this one; complete: nothing is left to do */
  readonly state: "new" | "started" | "complete";
  readonly warnings: readonly string[];
}

/**
 * Only under the campaign's lock, except for a dry run.
 * @throws HongbaoError `invalid_campaign` if the epoch to resume was started with another campaign file
 */
export async function chooseEpoch(dir: CampaignDir, hash: Buffer, resume: boolean): Promise<ChosenEpoch> {
  const highest = (await dir.startedEpochs()).at(-1);
  if (highest === undefined) return nextEpoch(dir, 1, hash, []);
  const epoch = dir.epoch(highest);
  const complete = await isComplete(epoch);
  if (resume) return resumeEpoch(epoch, hash, complete);
  const unfinished = `epoch ${highest} was started and never finished; this mint is a new one. \`--resume\` finishes an epoch with the campaign file it was started with, while it is the highest`;
  return nextEpoch(dir, highest + 1, hash, complete ? [] : [unfinished]);
}

async function isComplete(epoch: EpochDir): Promise<boolean> {
  return (
    (await exists(epoch.manifest, epoch.disk)) && (await exists(epoch.signature("operator"), epoch.disk))
  );
}

async function resumeEpoch(epoch: EpochDir, hash: Buffer, complete: boolean): Promise<ChosenEpoch> {
  const wanted = hash.toString("hex");
  const started = complete ? (await readManifest(epoch)).manifest : await readPlan(epoch);
  if (started === undefined) return { epoch, state: "new", warnings: [] };
  if (started.planHash !== wanted)
    throw new HongbaoError(
      "invalid_campaign",
      `epoch ${epoch.epoch} was ${complete ? "minted" : "started"} from another campaign file (plan ${short(started.planHash)}, this one is ${short(wanted)}): resume with that file, or run without --resume to mint a new epoch`,
    );
  return { epoch, state: complete ? "complete" : "started", warnings: [] };
}

/**
 * The first epoch from `from` on whose key files, if there are any, are of this very plan: seeds that were lost
 * can be minted again beside their keys, and no other key is ever in the way.
 */
async function nextEpoch(
  dir: CampaignDir,
  from: number,
  hash: Buffer,
  warnings: readonly string[],
): Promise<ChosenEpoch> {
  for (let number = from; number <= EPOCH_MAX; number++) {
    const epoch = dir.epoch(number);
    if (!(await exists(epoch.keysDir, epoch.disk)) || (await hasKeysOf(epoch, hash)))
      return { epoch, state: "new", warnings };
  }
  throw new HongbaoError(
    "usage",
    `campaign ${dir.campaign} has used its ${EPOCH_MAX} epochs: name a new one`,
  );
}

async function hasKeysOf(epoch: EpochDir, hash: Buffer): Promise<boolean> {
  if (!(await exists(epoch.settlementKey, epoch.disk))) return false;
  return keyBytes((await readKeyFile("settlement", epoch.settlementKey, epoch.disk)).planHash).equals(hash);
}

function short(planHash: string): string {
  return planHash.slice(0, 8);
}
