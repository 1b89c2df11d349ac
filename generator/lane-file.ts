/**
 * A shard's file as a mint thread uses it: at positions, whole, and synchronous, so that the program's own event loop
 * never waits for it.
 */
import { fdatasyncSync, readSync, writeSync } from "node:fs";
import { invariant } from "../core/format/error.ts";

export interface LaneFile {
  /** Fills `into`. The file must be as long as that. */
  read(into: Uint8Array, position: number): void;
  /** Writes all of `bytes`. */
  write(bytes: Uint8Array, position: number): void;
  datasync(): void;
}

export function laneFile(fd: number): LaneFile {
  return {
    read: (into, position) => {
      for (let at = 0; at < into.length; ) {
        const got = readSync(fd, into, at, into.length - at, position + at);
        invariant(got > 0, "a shard's file is as long as its layout says");
        at += got;
      }
    },
    write: (bytes, position) => {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, position + at);
    },
    datasync: () => fdatasyncSync(fd),
  };
}
