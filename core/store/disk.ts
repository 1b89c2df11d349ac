/**
 * The disk as this house uses it: the few calls that its promises rest on, with the durability that POSIX gives
 * them. A write is with the kernel when it resolves, and on the disk only after a sync of its file; a name made,
 * linked, renamed or removed is on the disk only after a sync of its directory.
 *
 * There is one disk in production, the machine's. Everything that must survive goes through this interface, so
 * that an experiment can put a disk behind it that loses power, fills up or tears what it was writing.
 */
import { closeSync, open as openCallback } from "node:fs";
import { chmod, link, mkdir, open, readdir, rename, rm, rmdir, stat, statfs } from "node:fs/promises";
import { promisify } from "node:util";
import { tryLock } from "fs-native-extensions";

export interface DiskFile {
  /** @param position null: on from where the last such read ended, as pipes and devices need it */
  read(into: Uint8Array, at: number, length: number, position: number | null): Promise<{ bytesRead: number }>;
  /** May write less than `length`. */
  write(from: Uint8Array, at: number, length: number, position: number): Promise<{ bytesWritten: number }>;
  /** Writes everything, from where the file stands. */
  writeFile(bytes: Uint8Array | string): Promise<void>;
  truncate(bytes: number): Promise<void>;
  sync(): Promise<void>;
  datasync(): Promise<void>;
  stat(): Promise<{ size: number }>;
  close(): Promise<void>;
}

export interface Disk {
  /** @param flags "wx": a new file, which must not exist. Directories can be opened with "r", to be synced. */
  open(path: string, flags: "r" | "r+" | "wx", mode?: number): Promise<DiskFile>;
  /** Gives the file a second name. Fails with EEXIST if there is one. */
  link(path: string, name: string): Promise<void>;
  /** Replaces what `to` names, in one step. */
  rename(path: string, to: string): Promise<void>;
  /** What is not there is removed already. */
  remove(path: string): Promise<void>;
  makeDirectory(path: string, mode: number): Promise<void>;
  list(dir: string): Promise<string[]>;
  stat(path: string): Promise<{ size: number; isDirectory(): boolean }>;
  chmod(path: string, mode: number): Promise<void>;
  /** It must be empty. */
  removeDirectory(path: string): Promise<void>;
  /** Bytes that a file in this directory may still take. */
  freeBytes(dir: string): Promise<number>;
  /**
   * Locks a file, made if it is not there, for this process; the kernel frees it when the process dies (open file
   * description locks on Linux; fs-native-extensions carries the binding for the other platforms).
   * @returns how to release it, or undefined if somebody holds it
   */
  lock(path: string): Promise<(() => void) | undefined>;
}

const openDescriptor = promisify(openCallback) as (
  path: string,
  flags: string,
  mode: number,
) => Promise<number>;

export const machineDisk: Disk = {
  open,
  link,
  rename,
  remove: (path) => rm(path, { force: true }),
  makeDirectory: async (path, mode) => {
    await mkdir(path, { mode });
  },
  list: (dir) => readdir(dir),
  stat,
  chmod,
  removeDirectory: rmdir,
  freeBytes: async (dir) => {
    const { bavail, bsize } = await statfs(dir);
    return bavail * bsize;
  },
  lock: async (path) => {
    // A bare descriptor: a FileHandle that nobody holds is closed with the garbage, and the lock would go with it.
    const descriptor = await openDescriptor(path, "a+", 0o600);
    const release = () => closeSync(descriptor);
    if (tryLock(descriptor)) return release;
    release();
    return undefined;
  },
};
