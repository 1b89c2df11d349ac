/**
 * A process that uses a simulated disk: when its operations take place, what goes wrong with them, and that none
 * takes place once it is dead.
 */
import type { Disk, DiskFile } from "../../../core/store/disk.ts";
import { type Storage, systemError } from "./storage.ts";

export type OperationKind = Exclude<keyof Disk | keyof DiskFile, "writeFile"> | "create";

/** An operation that a process asked for. */
export interface Attempt {
  /** Counts this process's operations from 0, in the order in which they take place. */
  readonly number: number;
  readonly kind: OperationKind;
  readonly path: string;
}

/** What goes wrong, and how much of the operation is done all the same. */
export interface Fault {
  /** Without a code the write is short, and says so: "half" is done. */
  readonly code?: "EIO" | "ENOSPC";
  readonly done: "nothing" | "half" | "everything";
}

export interface DiskOptions {
  /** Calls `complete` when the operation is to take place; in this turn of the event loop, if not given. */
  readonly schedule?: (operation: string, complete: () => void) => void;
  readonly fault?: (attempt: Attempt) => Fault | undefined;
}

/** On an open file: as on the machine, their errors name no path. */
const OF_FILES: ReadonlySet<OperationKind> = new Set([
  "read",
  "write",
  "truncate",
  "sync",
  "datasync",
  "close",
]);

interface Effect<T> {
  whole(): T;
  /** Of a write. */
  half?(): T;
  /** When it fails, after what was done of it. */
  failed?(): void;
}

export class DiskProcess {
  readonly storage: Storage;
  readonly options: DiskOptions;
  /** Paths of files that were synced again after a sync of them had failed. */
  readonly syncedAgain: string[] = [];
  private readonly failedSyncs = new Set<number>();
  private readonly locks = new Set<number>();
  private served = 0;
  private dead = false;

  constructor(storage: Storage, options: DiskOptions) {
    this.storage = storage;
    this.options = options;
  }

  get operations(): number {
    return this.served;
  }

  /** What is under way never takes place, and the kernel frees the locks. */
  kill(): void {
    this.dead = true;
    for (const inode of [...this.locks]) this.unlock(inode);
  }

  /** Once it is dead, it is answered no more. */
  attempt<T>(kind: OperationKind, path: string, effect: Effect<T> | (() => T)): Promise<T> {
    return new Promise((resolve, reject) => {
      const complete = () => {
        if (this.dead) return;
        try {
          resolve(this.serve(kind, path, effect));
        } catch (error) {
          reject(error);
        }
      };
      if (this.dead) return;
      if (this.options.schedule) this.options.schedule(`${kind} ${path}`, complete);
      else queueMicrotask(complete);
    });
  }

  /** As a thread of the process does it: at once. @throws if the process is dead, and its threads with it */
  attemptNow<T>(kind: OperationKind, path: string, effect: Effect<T> | (() => T)): T {
    if (this.dead) throw new Error("the process is dead");
    return this.serve(kind, path, effect);
  }

  sync(kind: "sync" | "datasync", inode: number, path: string): Promise<void> {
    return this.attempt(kind, path, this.syncEffect(inode, path));
  }

  syncNow(kind: "sync" | "datasync", inode: number, path: string): void {
    this.attemptNow(kind, path, this.syncEffect(inode, path));
  }

  /** @returns false if somebody holds it */
  lock(inode: number): boolean {
    if (this.storage.locked.has(inode)) return false;
    this.storage.locked.add(inode);
    this.locks.add(inode);
    return true;
  }

  unlock(inode: number): void {
    if (this.locks.delete(inode)) this.storage.locked.delete(inode);
  }

  /** Covers what was there when it began. */
  private syncEffect(inode: number, path: string): Effect<void> {
    const { storage, failedSyncs } = this;
    const begun = storage.log.length;
    if (failedSyncs.has(inode)) this.syncedAgain.push(path);
    return {
      whole: () => storage.sync(inode, begun, false),
      failed: () => {
        // After a failure with everything done this one covers nothing more.
        storage.sync(inode, begun, true);
        if (!storage.isDirectory(inode)) failedSyncs.add(inode);
      },
    };
  }

  private serve<T>(kind: OperationKind, path: string, effect: Effect<T> | (() => T)): T {
    const attempt = { number: this.served++, kind, path };
    return this.undergo(attempt, typeof effect === "function" ? { whole: effect } : effect);
  }

  private undergo<T>(attempt: Attempt, effect: Effect<T>): T {
    const fault = this.options.fault?.(attempt);
    if (fault === undefined) return effect.whole();
    const done =
      fault.done === "everything" ? effect.whole() : fault.done === "half" ? effect.half?.() : undefined;
    if (fault.code !== undefined) {
      effect.failed?.();
      throw systemError(fault.code, attempt.kind, OF_FILES.has(attempt.kind) ? undefined : attempt.path);
    }
    if (done === undefined) throw new Error(`${attempt.kind} cannot be done by half`);
    return done;
  }
}
