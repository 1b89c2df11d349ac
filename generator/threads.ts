/**
 * Runs lane jobs on mint threads. A thread stays with the shard whose permutation it holds; one that is done
 * takes a shard that nobody has touched, and only then helps with another's. The first failure stops new jobs;
 * jobs under way finish and keep their markers, then the failure is thrown.
 */
import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { HongbaoError } from "../core/format/error.ts";
import type { LaneReading, MintSecrets } from "./lane.ts";
import type { LaneJob } from "./lane-job.ts";

export interface MintProgress {
  update(sealedPackets: number, totalPackets: number): void;
}

export type LaneAnswer = LaneReading | { readonly failed: string };

export interface ThreadData {
  readonly secrets: MintSecrets;
  /** one 64-bit counter of steps, two a packet, shared by all threads */
  readonly progress: SharedArrayBuffer;
}

const PROGRESS_EVERY_MS = 100;
/** A thread's heap holds little but code; its packets lie in typed arrays outside. */
const HEAP_MB_MAX = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 4 };

/**
 * @param onDone called for each finished job, before its thread takes the next one
 * @returns the readings in the order of `jobs`
 * @throws HongbaoError `mint_failed`
 */
export type RunLanes = (
  jobs: readonly LaneJob[],
  order: { readonly secrets: MintSecrets; readonly workers: number },
  progress: MintProgress,
  onDone: (job: LaneJob, reading: LaneReading) => Promise<void>,
) => Promise<LaneReading[]>;

export const runLanes: RunLanes = async (jobs, { secrets, workers }, progress, onDone) => {
  const total = jobs.reduce((sum, { task }) => sum + task.lane.packets, 0);
  const shared = new SharedArrayBuffer(8);
  const counter = new BigInt64Array(shared);
  const report = () => progress.update(Number(Atomics.load(counter, 0) / 2n), total);
  const timer = setInterval(report, PROGRESS_EVERY_MS);
  const queue = new LaneQueue(jobs);
  const readings = new Map<LaneJob, LaneReading>();
  const work = async () => {
    const thread = new MintThread({ secrets, progress: shared });
    try {
      for (let job = queue.next(undefined); job !== undefined; job = queue.next(job.task.shard)) {
        const reading = await thread.run(job);
        await onDone(job, reading);
        readings.set(job, reading);
      }
    } catch (error) {
      queue.clear();
      throw error;
    } finally {
      await thread.stop();
    }
  };
  try {
    const threads = Array.from({ length: Math.min(workers, jobs.length) }, work);
    for (const end of await Promise.allSettled(threads)) if (end.status === "rejected") throw end.reason;
  } finally {
    clearInterval(timer);
  }
  report();
  return jobs.flatMap((job) => readings.get(job) ?? []);
};

class LaneQueue {
  private readonly waiting = new Map<number, LaneJob[]>();
  private readonly untouched: number[];

  constructor(jobs: readonly LaneJob[]) {
    for (const job of jobs) {
      const shard = this.waiting.get(job.task.shard) ?? [];
      shard.push(job);
      this.waiting.set(job.task.shard, shard);
    }
    // The longest lane first: a short one at the end keeps no thread waiting.
    for (const shard of this.waiting.values())
      shard.sort((a, b) => a.task.lane.packets - b.task.lane.packets);
    this.untouched = [...this.waiting.keys()].reverse();
  }

  /** @param last the shard that the asking thread worked on */
  next(last: number | undefined): LaneJob | undefined {
    const own = last !== undefined && this.waiting.has(last) ? last : undefined;
    const shard = own ?? this.untouched.pop() ?? this.waiting.keys().next().value;
    const jobs = shard === undefined ? undefined : this.waiting.get(shard);
    if (shard === undefined || jobs === undefined) return undefined;
    const job = jobs.pop();
    if (jobs.length === 0) this.waiting.delete(shard);
    return job;
  }

  clear(): void {
    this.waiting.clear();
    this.untouched.length = 0;
  }
}

class MintThread {
  private readonly worker: Worker;
  private waiting: { resolve(answer: LaneAnswer): void; reject(error: Error): void } | undefined;
  private died: Error | undefined;

  constructor(data: ThreadData) {
    const file = createRequire(import.meta.url).resolve("#mint-worker");
    this.worker = new Worker(file, { workerData: data, resourceLimits: HEAP_MB_MAX });
    this.worker.on("message", (answer: LaneAnswer) => this.waiting?.resolve(answer));
    this.worker.on("error", (error) => this.fail(error));
    this.worker.on("exit", () => this.fail(new Error("the thread ended")));
  }

  async run(job: LaneJob): Promise<LaneReading> {
    const answer = await new Promise<LaneAnswer>((resolve, reject) => {
      this.waiting = { resolve, reject };
      if (this.died !== undefined) reject(this.died);
      else this.worker.postMessage(job);
    }).catch((cause: Error) => ({ failed: `a mint thread died (${cause.message}): try \`--resume\`` }));
    if ("failed" in answer) throw new HongbaoError("mint_failed", answer.failed);
    return answer;
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
  }

  private fail(error: Error): void {
    this.died ??= error;
    this.waiting?.reject(this.died);
  }
}
