/**
 * A mint thread: takes lane jobs one at a time, answers each with what its lane says when it is read back. All
 * I/O is synchronous here, so that the program's own event loop never waits for it. Started only by threads.ts,
 * from the built file.
 */
import { closeSync, openSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { HongbaoError, invariant, systemCode } from "../core/format/error.ts";
import { HASH_BYTES } from "../core/format/merkle.ts";
import { BLOCK_RECORDS } from "../core/format/seedfile.ts";
import { LaneMint, type LaneTask, misread } from "./lane.ts";
import type { LaneAnswer, LaneJob, ThreadData } from "./threads.ts";

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
    return run(job);
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

function run({ kind, path, task, record }: LaneJob): LaneAnswer {
  steps = kind === "draft" || record !== undefined ? 2 : 1;
  if (kind === "draft") return mint.draft(task);
  const fd = openSync(path, record === undefined ? "r+" : "r");
  try {
    if (record === undefined) mint.write(task, fd);
    const reading = mint.read(task, fd);
    if (record !== undefined) assertSame(task, record.hashes, reading.hashes);
    return reading;
  } finally {
    closeSync(fd);
  }
}

/** Records that are all genuine may still not be the ones, or in the order, that the marker speaks of. */
function assertSame(task: LaneTask, marked: Uint8Array, read: Uint8Array): void {
  const differs = read.findIndex((byte, i) => byte !== marked[i]);
  if (differs >= 0 || marked.length !== read.length)
    throw misread(task, Math.floor(Math.max(0, differs) / HASH_BYTES) * BLOCK_RECORDS);
}
