/**
 * The work of one mint thread: a lane sealed, written and read back, or one that an earlier run has finished held
 * against its marker, or one that is only counted.
 */
import { HASH_BYTES } from "../core/format/merkle.ts";
import { BLOCK_RECORDS } from "../core/format/seedfile.ts";
import { type LaneMint, type LaneReading, type LaneRecord, type LaneTask, misread } from "./lane.ts";
import type { LaneFile } from "./lane-file.ts";

export interface LaneJob {
  /** "draft" writes nothing; "lane" mints, or only reads back what `record` says was minted before */
  readonly kind: "draft" | "lane";
  /** the shard's file */
  readonly path: string;
  readonly task: LaneTask;
  readonly record?: LaneRecord;
}

/** Calls `use` with the shard's file, which is open until it returns. */
export type WithLaneFile = <T>(path: string, flags: "r" | "r+", use: (file: LaneFile) => T) => T;

/** @throws HongbaoError `mint_failed` if the file does not read back as it was sealed */
export function runLane(
  { kind, path, task, record }: LaneJob,
  mint: LaneMint,
  withFile: WithLaneFile,
): LaneReading {
  if (kind === "draft") return mint.draft(task);
  return withFile(path, record === undefined ? "r+" : "r", (file) => {
    if (record === undefined) mint.write(task, file);
    const reading = mint.read(task, file);
    if (record !== undefined) assertSame(task, record.hashes, reading.hashes);
    return reading;
  });
}

/** Records that are all genuine may still not be the ones, or in the order, that the marker speaks of. */
function assertSame(task: LaneTask, marked: Uint8Array, read: Uint8Array): void {
  const differs = read.findIndex((byte, i) => byte !== marked[i]);
  if (differs >= 0 || marked.length !== read.length)
    throw misread(task, Math.floor(Math.max(0, differs) / HASH_BYTES) * BLOCK_RECORDS);
}
