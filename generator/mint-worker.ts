/**
 * A mint thread: takes lane jobs one at a time, answers each with what it sealed. All I/O is synchronous here,
 * so that the program's own event loop never waits for it. Started only by threads.ts, from the built file.
 */
import { closeSync, openSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { HongbaoError, invariant, systemCode } from "../core/format/error.ts";
import { LaneMint } from "./lane.ts";
import type { LaneAnswer, LaneJob, ThreadData } from "./threads.ts";

const port = parentPort;
invariant(port !== null, "a mint worker is a thread");
const { secrets, progress } = workerData as ThreadData;
const counter = new BigInt64Array(progress);
const mint = new LaneMint(secrets, (packets) => Atomics.add(counter, 0, BigInt(packets)));

port.on("message", (job: LaneJob) => port.postMessage(answer(job)));

function answer(job: LaneJob): LaneAnswer {
  try {
    return run(job);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (systemCode(error) === "ENOSPC") return { failed: "the disk is full: free space" };
    return { failed: error instanceof HongbaoError ? message : `the mint stopped (${message})` };
  }
}

function run({ kind, path, task, record }: LaneJob): LaneAnswer {
  if (kind === "draft") {
    const { repeated, ...draft } = mint.draft(task);
    return { record: draft, repeated };
  }
  const fd = openSync(path, record === undefined ? "r+" : "r");
  try {
    const sealed = record ?? mint.write(task, fd);
    const repeated = mint.reread(task, fd, sealed.hashes);
    if (record !== undefined) Atomics.add(counter, 0, BigInt(task.lane.packets));
    return { record: sealed, repeated };
  } finally {
    closeSync(fd);
  }
}
