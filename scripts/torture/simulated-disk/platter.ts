/**
 * What survives a power loss, and what may.
 *
 * Every file has the content that its last sync put on the disk, and the writes since, of which nobody knows how
 * much arrived. Directories are the same with names. `apply` follows the log of a disk; `crash` decides the fate of
 * everything that is still open, and gives the platter that the next start finds.
 *
 * Open writes of a file are applied in the order of the log, each as far as its fate says. Another order of arrival
 * is the same as a subset: a page cache never writes an older version of a byte over a newer one.
 */
import { Content } from "./content.ts";

/** Inodes are numbered; the root directory is 0. */
export const ROOT = 0;

/** One change of the disk, as its log keeps it. */
export type Operation =
  | { readonly type: "make"; readonly inode: number; readonly kind: "file" | "directory" }
  | { readonly type: "write"; readonly inode: number; readonly position: number; readonly bytes: Uint8Array }
  | { readonly type: "truncate"; readonly inode: number; readonly bytes: number }
  /** Names of a directory set or (undefined) removed, in one step. */
  | {
      readonly type: "names";
      readonly inode: number;
      readonly changes: readonly (readonly [string, number | undefined])[];
    }
  /** Covers what the log held of this inode when the sync began. Failed: what it covers is never synced again. */
  | { readonly type: "sync"; readonly inode: number; readonly begun: number; readonly failed: boolean };

/** A change that is not on the disk for sure. */
export interface Pending {
  readonly operation: Extract<Operation, { type: "write" | "truncate" | "names" }>;
  /** Place in the log. */
  readonly at: number;
  /** A sync that covered it failed: its pages are clean, no later sync writes them. */
  readonly abandoned: boolean;
}

/** How much of a change arrived. */
export interface Reach {
  /** Byte ranges of a write. Any other change arrived if there is a range. */
  readonly ranges: readonly (readonly [from: number, to: number])[];
  /** The file has grown to its new size also where the bytes did not arrive; they are zeros, or these over and over. */
  readonly grown?: "zeros" | Uint8Array;
}

export const NOTHING: Reach = { ranges: [] };
export const EVERYTHING: Reach = { ranges: [[0, Number.POSITIVE_INFINITY]] };

export type Fate = (pending: Pending) => Reach;

interface Inode {
  readonly content: Content | undefined;
  readonly names: Map<string, number> | undefined;
  /** In the order of the log; "certain" behind an uncertain one waits for it. */
  open: (Pending & { readonly certain: boolean })[];
}

export class Platter {
  readonly inodes = new Map<number, Inode>();
  private applied = 0;

  constructor() {
    this.inodes.set(ROOT, newInode("directory"));
  }

  /** Operations of the log that it has seen. */
  get moment(): number {
    return this.applied;
  }

  /** A copy without a past: what is still open is not taken over. */
  copy(): Platter {
    return this.crash(() => NOTHING);
  }

  apply(operation: Operation): void {
    const at = this.applied++;
    if (operation.type === "make") {
      this.inodes.set(operation.inode, newInode(operation.kind));
      return;
    }
    const inode = this.inode(operation.inode);
    if (operation.type !== "sync") inode.open.push({ operation, at, abandoned: false, certain: false });
    else settle(inode, operation.begun, operation.failed);
  }

  /** Everything that is not on the disk for sure, in the order of the log. */
  pending(): Pending[] {
    return [...this.inodes.values()]
      .flatMap(({ open }) => open.filter(({ certain }) => !certain))
      .sort((a, b) => a.at - b.at);
  }

  /** The platter after a power loss at this moment. */
  crash(fate: Fate): Platter {
    const after = new Platter();
    this.leave(ROOT, after, fate);
    return after;
  }

  /** Only what can be reached by name survives. */
  private leave(number: number, after: Platter, fate: Fate): void {
    const inode = this.inode(number);
    const left: Inode = {
      content: inode.content?.copy(),
      names: inode.names && new Map(inode.names),
      open: [],
    };
    for (const pending of inode.open) arrive(left, pending, pending.certain ? EVERYTHING : fate(pending));
    after.inodes.set(number, left);
    for (const child of left.names?.values() ?? [])
      if (!after.inodes.has(child)) this.leave(child, after, fate);
  }

  private inode(number: number): Inode {
    const inode = this.inodes.get(number);
    if (inode === undefined) throw new Error(`there is no inode ${number}`);
    return inode;
  }
}

function newInode(kind: "file" | "directory"): Inode {
  return kind === "file"
    ? { content: new Content(), names: undefined, open: [] }
    : { content: undefined, names: new Map(), open: [] };
}

/** A sync: what it covers is certain, or, if it failed, abandoned. What is certain from the start on is applied. */
function settle(inode: Inode, begun: number, failed: boolean): void {
  inode.open = inode.open.map((pending) => {
    if (pending.at >= begun || pending.abandoned || pending.certain) return pending;
    // Of directories, see the disk's head: their names stay open.
    if (failed) return inode.names ? pending : { ...pending, abandoned: true };
    return { ...pending, certain: true };
  });
  const firstOpen = inode.open.findIndex(({ certain }) => !certain);
  const certain = inode.open.splice(0, firstOpen < 0 ? inode.open.length : firstOpen);
  for (const pending of certain) arrive(inode, pending, EVERYTHING);
}

function arrive({ content, names }: Inode, { operation }: Pending, reach: Reach): void {
  if (operation.type === "write") {
    if (content) arriveBytes(content, operation.bytes, operation.position, reach);
  } else if (reach.ranges.length === 0) return;
  else if (operation.type === "truncate") content?.truncate(operation.bytes);
  else
    for (const [name, inode] of operation.changes)
      if (inode === undefined) names?.delete(name);
      else names?.set(name, inode);
}

function arriveBytes(content: Content, bytes: Uint8Array, position: number, { ranges, grown }: Reach): void {
  const end = position + bytes.length;
  const missing = end - content.size;
  if (grown !== undefined && missing > 0) {
    const from = content.size;
    content.truncate(end);
    if (grown !== "zeros") content.write(repeated(grown, missing), from);
  }
  for (const [from, to] of ranges) content.write(bytes.subarray(from, to), position + from);
}

function repeated(bytes: Uint8Array, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => bytes[i % bytes.length] ?? 0);
}
