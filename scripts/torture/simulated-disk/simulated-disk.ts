/**
 * A disk that loses power, fails and fills up: `core/store/disk.ts` in memory.
 *
 * What POSIX promises is all that it promises. A write, a truncation and a change of names are seen by everybody at
 * once, and are on the disk for sure only once a sync of that file, or that directory, which began after them, has
 * succeeded. A sync of a file does not make its name durable, nor the directories above it. Until then, after a
 * power loss, each change arrived or did not, apart from all others: writes torn at any byte or with any of their
 * sectors missing, a file grown without its bytes (zeros or rubbish in their place), a name without its file's
 * content, a rename before what was written before it. ext4 and XFS promise more (ordered metadata; a sync of a new
 * file brings its name along); what holds here holds there too. See Pillai et al., "All File Systems Are Not Created
 * Equal", OSDI 2014 (ALICE), whose persistence models these are.
 *
 * A failed sync of a file leaves its pages clean: what it covered may be on the disk or not, is read back from the
 * page cache all the same, and no later sync writes it ("fsyncgate"; Rebello et al., "Can Applications Recover from
 * fsync Failures?", ATC 2020). Of a directory the changes stay open: journalling file systems stop when they cannot
 * write their journal, so there is nothing to go on with.
 *
 * Left out: permissions, symbolic links, memory maps, and media that lose what was synced.
 */
import type { Disk, DiskFile } from "../../../core/store/disk.ts";
import type { SeededRandom } from "../random.ts";
import { type DiskOptions, DiskProcess } from "./disk-process.ts";
import { everyFate, randomFate } from "./fate.ts";
import { OpenFile } from "./open-file.ts";
import { EVERYTHING, type Fate } from "./platter.ts";
import { Storage, systemError } from "./storage.ts";
import { ThreadFile } from "./thread-file.ts";

export class SimulatedDisk implements Disk {
  private readonly storage: Storage;
  private readonly self: DiskProcess;

  constructor(options: DiskOptions = {}, storage: Storage = new Storage()) {
    this.storage = storage;
    this.self = new DiskProcess(storage, options);
  }

  /** A disk that holds these files, all of them for sure. */
  static holding(files: Iterable<readonly [path: string, bytes: Uint8Array]>): SimulatedDisk {
    const storage = new Storage();
    for (const [path, bytes] of files) {
      makeParents(storage, path);
      storage.write(storage.make(path, "file", "open"), bytes, 0);
    }
    return new SimulatedDisk({}, storage).copy();
  }

  /** A machine of its own that holds the same, all of it for sure. */
  copy(options: DiskOptions = {}): SimulatedDisk {
    return this.afterPowerLoss(() => EVERYTHING, this.moment, options);
  }

  /** Every file by its path, as processes see it. */
  files(): Map<string, Buffer> {
    return new Map(this.storage.everyFile());
  }

  /** Changes that have taken place on this machine: a moment to crash at. */
  get moment(): number {
    return this.storage.log.length;
  }

  /** Operations that this process has been served. */
  get operations(): number {
    return this.self.operations;
  }

  /** Paths of files that this process synced again after a sync of them had failed. */
  get syncedAgain(): readonly string[] {
    return this.self.syncedAgain;
  }

  /** Another process of the same machine. */
  process(options: DiskOptions = {}): SimulatedDisk {
    return new SimulatedDisk(options, this.storage);
  }

  /** kill -9 of this process: what it has under way never happens, its locks are free, and what it wrote stays. */
  kill(): void {
    this.self.kill();
  }

  /** One of the disks that a power loss at `moment` may leave. This one goes on as if nothing had happened. */
  powerLoss(random: SeededRandom, moment = this.moment, options: DiskOptions = {}): SimulatedDisk {
    const platter = this.storage.at(moment);
    return new SimulatedDisk(options, new Storage(platter.crash(randomFate(platter.pending(), random))));
  }

  /** The fates that a power loss at `moment` may have, each to be asked of `afterPowerLoss`; within bounds. */
  everyPowerLoss(moment = this.moment): Fate[] {
    return everyFate(this.storage.at(moment).pending());
  }

  afterPowerLoss(fate: Fate, moment = this.moment, options: DiskOptions = {}): SimulatedDisk {
    return new SimulatedDisk(options, new Storage(this.storage.at(moment).crash(fate)));
  }

  open(path: string, flags: "r" | "r+" | "wx"): Promise<DiskFile> {
    return this.self.attempt(flags === "wx" ? "create" : "open", path, () => {
      const { storage } = this;
      const inode = flags === "wx" ? storage.make(path, "file", "open") : storage.find(path, "open");
      if (flags === "r+" && storage.isDirectory(inode)) throw systemError("EISDIR", "open", path);
      return new OpenFile(this.self, inode, path, flags);
    });
  }

  /** Opens a file for a thread of this process. */
  openForThread(path: string): ThreadFile {
    const inode = this.self.attemptNow("open", path, () => this.storage.find(path, "open"));
    return new ThreadFile(this.self, inode, path);
  }

  link(path: string, name: string): Promise<void> {
    return this.self.attempt("link", path, () => this.storage.link(path, name));
  }

  rename(path: string, to: string): Promise<void> {
    return this.self.attempt("rename", path, () => this.storage.rename(path, to));
  }

  remove(path: string): Promise<void> {
    return this.self.attempt("remove", path, () => this.storage.remove(path));
  }

  makeDirectory(path: string): Promise<void> {
    return this.self.attempt("makeDirectory", path, () => {
      this.storage.make(path, "directory", "mkdir");
    });
  }

  list(dir: string): Promise<string[]> {
    return this.self.attempt("list", dir, () => this.storage.list(dir));
  }

  stat(path: string): Promise<{ size: number; isDirectory(): boolean }> {
    return this.self.attempt("stat", path, () => {
      const inode = this.storage.find(path, "stat");
      const isDirectory = this.storage.isDirectory(inode);
      return { size: this.storage.size(inode), isDirectory: () => isDirectory };
    });
  }

  /** Permissions are left out: that it takes place is all. */
  chmod(path: string): Promise<void> {
    return this.self.attempt("chmod", path, () => {
      this.storage.find(path, "chmod");
    });
  }

  removeDirectory(path: string): Promise<void> {
    return this.self.attempt("removeDirectory", path, () => this.storage.removeDirectory(path));
  }

  /** Full is what a fault makes it. */
  freeBytes(dir: string): Promise<number> {
    return this.self.attempt("freeBytes", dir, () => {
      this.storage.find(dir, "statfs");
      return Number.MAX_SAFE_INTEGER;
    });
  }

  lock(path: string): Promise<(() => void) | undefined> {
    return this.self.attempt("lock", path, () => {
      const inode = this.findOrMake(path);
      return this.self.lock(inode) ? () => this.self.unlock(inode) : undefined;
    });
  }

  private findOrMake(path: string): number {
    const inode = this.storage.findUnlessMissing(path) ?? this.storage.make(path, "file", "open");
    if (this.storage.isDirectory(inode)) throw systemError("EISDIR", "open", path);
    return inode;
  }
}

/** @param path of a file that is to be made */
function makeParents(storage: Storage, path: string): void {
  for (let end = path.indexOf("/", 1); end > 0; end = path.indexOf("/", end + 1)) {
    const parent = path.slice(0, end);
    if (storage.findUnlessMissing(parent) === undefined) storage.make(parent, "directory", "mkdir");
  }
}
