/**
 * A file of a simulated disk as a thread of a process uses it: each call is over when it returns.
 */
import type { LaneFile } from "../../../generator/lane-file.ts";
import type { DiskProcess } from "./disk-process.ts";

export class ThreadFile implements LaneFile {
  private readonly process: DiskProcess;
  private readonly inode: number;
  private readonly path: string;

  constructor(process: DiskProcess, inode: number, path: string) {
    this.process = process;
    this.inode = inode;
    this.path = path;
  }

  read(into: Uint8Array, position: number): void {
    const { storage } = this.process;
    const read = this.process.attemptNow("read", this.path, () =>
      storage.read(this.inode, into, 0, into.length, position),
    );
    if (read < into.length) throw new Error(`${this.path} is too short`);
  }

  write(bytes: Uint8Array, position: number): void {
    for (let at = 0; at < bytes.length; ) at += this.put(bytes.subarray(at), position + at);
  }

  datasync(): void {
    this.process.syncNow("datasync", this.inode, this.path);
  }

  private put(bytes: Uint8Array, position: number): number {
    const write = (length: number) => {
      this.process.storage.write(this.inode, bytes.subarray(0, length), position);
      return length;
    };
    return this.process.attemptNow("write", this.path, {
      whole: () => write(bytes.length),
      half: () => write(bytes.length >>> 1),
    });
  }
}
