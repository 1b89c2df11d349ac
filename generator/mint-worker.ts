/**
 * A mint thread: takes lane jobs one at a time, answers each with what its lane says when it is read back. All
 * I/O is synchronous here, so that the program's own event loop never waits for it. Started only by threads.ts,
 * from the built file.
 */
import { closeSync, openSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { HongbaoError, invariant, systemCode } from "../core/format/error.ts";
import { LaneMint } from "./lane.ts";
import { type LaneFile, laneFile } from "./lane-file.ts";
import { type LaneJob, runLane } from "./lane-job.ts";
import type { LaneAnswer, ThreadData } from "./threads.ts";

const port = parentPort;
invariant(port !== null, "a mint worker is a thread");
const { secrets, progress } = workerData as ThreadData;
const counter = new BigInt64Array(progress);
/** A packet is two steps of progress, sealed and read back; where only one of them is done it counts twice. */
let steps = 1;
const mint = new LaneMint(secrets, (packets) => Atomics.add(counter, 0, BigInt(packets * steps)));

port.on("message", (job: LaneJob) => port.postMessage(answer(job)));

function answer(job: LaneJob): LaneAnswer {
  try {
    steps = job.kind === "draft" || job.record !== undefined ? 2 : 1;
    return runLane(job, mint, withLaneFile);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (systemCode(error) === "ENOSPC") return { failed: "the disk is full: free space, then `--resume`" };
    return {
      failed:
        error instanceof HongbaoError
          ? message
          : `the mint stopped (${message}): finished lanes are kept for \`--resume\``,
    };
  }
}

function withLaneFile<T>(path: string, flags: "r" | "r+", use: (file: LaneFile) => T): T {
  const fd = openSync(path, flags);
  try {
    return use(laneFile(fd));
  } finally {
    closeSync(fd);
  }
}
