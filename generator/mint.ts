/**
 * Mints the lanes of an epoch into the shards' unfinished files, or continues where a dead run stopped: a lane
 * with a marker is only read back, every other lane is minted (again), to the same bytes.
 *
 * A shard whose final name exists was finished by an earlier run; its lanes are read back from there.
 */
import { dirname } from "node:path";
import { HongbaoError, invariant } from "../core/format/error.ts";
import { seedLayout } from "../core/format/seedfile.ts";
import { TOKEN_BYTES } from "../core/format/token.ts";
import type { EpochDir } from "../core/store/campaign-dir.ts";
import type { Disk } from "../core/store/disk.ts";
import { exists, makeDirectory, syncDirectory } from "../core/store/durable.ts";
import { type LaneRecord, type LaneTask, type MintSecrets, seenBitmap } from "./lane.ts";
import type { LaneJob } from "./lane-job.ts";
import type { Plan, ShardPlan } from "./plan.ts";
import type { MintProgress, RunLanes } from "./threads.ts";
import type { Workshop } from "./workshop.ts";

export interface MintOrder {
  readonly plan: Plan;
  readonly secrets: MintSecrets;
  readonly workers: number;
  readonly runLanes: RunLanes;
}

export interface MintedShard {
  readonly plan: ShardPlan;
  /** in the order of the plan's lanes */
  readonly records: readonly LaneRecord[];
}

export interface Minted {
  readonly shards: readonly MintedShard[];
  /** serials that were met twice, over all shards */
  readonly repeated: number;
  /** lanes that an earlier run had finished */
  readonly resumedLanes: number;
}

/** @throws HongbaoError `mint_failed` */
export async function mint(
  order: MintOrder,
  epoch: EpochDir,
  workshop: Workshop,
  progress: MintProgress,
): Promise<Minted> {
  const { disk } = epoch;
  await makeDirectory(workshop.dir, undefined, disk);
  const paths = await Promise.all(
    order.plan.shards.map(async ({ shard }) => {
      const done = epoch.seed(shard);
      return (await exists(done, disk)) ? done : workshop.part(shard);
    }),
  );
  const jobs: LaneJob[] = [];
  for (const job of lanesOf(order.plan, "lane")) {
    const record = await workshop.readMarker(job.task.shard, job.task.lane.ad);
    const path = paths[job.task.shard] ?? "";
    if (record === undefined && path === epoch.seed(job.task.shard))
      throw new HongbaoError("mint_failed", `${path} exists without its lane markers: start a new epoch`);
    jobs.push({ ...job, path, ...(record === undefined ? {} : { record }) });
  }
  await checkSpace(disk, workshop.dir, jobs);
  for (const { shard, lanes } of order.plan.shards)
    if (paths[shard] === workshop.part(shard))
      await preallocate(disk, workshop.part(shard), seedLayout(lanes).fileBytes);
  const minted = await runJobs(jobs, order, progress, async ({ task, record }, reading) => {
    // If we die here, the lane is durable but unmarked: it is minted once more.
    if (record === undefined) await workshop.writeMarker(task.shard, task.lane.ad, reading);
  });
  return { ...minted, resumedLanes: jobs.filter(({ record }) => record !== undefined).length };
}

/** Draws every amount and serial, and writes nothing. */
export async function draft(order: MintOrder, progress: MintProgress): Promise<Minted> {
  const minted = await runJobs(lanesOf(order.plan, "draft"), order, progress, async () => {});
  return { ...minted, resumedLanes: 0 };
}

async function runJobs(
  jobs: readonly LaneJob[],
  order: MintOrder,
  progress: MintProgress,
  onDone: (job: LaneJob, record: LaneRecord) => Promise<void>,
): Promise<Omit<Minted, "resumedLanes">> {
  const readings = await order.runLanes(jobs, order, progress, onDone);
  invariant(readings.length === jobs.length, "every lane was read");
  let next = 0;
  const shards = order.plan.shards.map((plan): MintedShard => {
    const own = readings.slice(next, next + plan.lanes.length);
    next += own.length;
    return { plan, records: own };
  });
  return { shards, repeated: readings.reduce((sum, { repeated }) => sum + repeated, 0) };
}

/** One job a lane, shards and lanes in the plan's order. */
function lanesOf(plan: Plan, kind: LaneJob["kind"]): LaneJob[] {
  return plan.shards.flatMap(({ shard, packets, lanes }) => {
    const layout = seedLayout(lanes);
    const seen = seenBitmap(packets);
    let firstPacket = 0;
    return lanes.map((lane, i): LaneJob => {
      const recordsAt = layout.lanes[i]?.recordsAt ?? 0;
      const task: LaneTask = { shard, shardPackets: packets, lane, firstPacket, recordsAt, seen };
      firstPacket += lane.packets;
      return { kind, path: "", task };
    });
  });
}

/** A full disk is found here and not after half of the work. */
async function checkSpace(disk: Disk, dir: string, jobs: readonly LaneJob[]): Promise<void> {
  const needed = jobs.reduce(
    (sum, { record, task }) => (record === undefined ? sum + task.lane.packets * TOKEN_BYTES : sum),
    0,
  );
  const free = await disk.freeBytes(dir);
  if (free < needed)
    throw new HongbaoError(
      "mint_failed",
      `the seeds need ${needed} bytes more, ${dir} has ${free} free: free space, then \`--resume\``,
    );
}

async function preallocate(disk: Disk, path: string, bytes: number): Promise<void> {
  const handle = await disk.open(path, (await exists(path, disk)) ? "r+" : "wx", 0o600);
  try {
    // If we die here, the file may be short: it is sized again; a lane with a marker was written after this.
    if ((await handle.stat()).size !== bytes) await handle.truncate(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await syncDirectory(dirname(path), disk);
}
