/**
 * A simulated machine's files as its processes see them (the page cache), and the log of every change: names,
 * contents and errors as on Linux. Everything here happens at once; `SimulatedDisk` gives it time and faults.
 */
import { systemCode } from "../../../core/format/error.ts";
import { Content } from "./content.ts";
import { type Operation, Platter, ROOT } from "./platter.ts";

interface File {
  readonly inode: number;
  readonly content: Content;
}

interface Directory {
  readonly inode: number;
  readonly names: Map<string, number>;
}

export class Storage {
  readonly log: Operation[] = [];
  /** Inodes of locked files. */
  readonly locked = new Set<number>();
  private readonly files = new Map<number, File>();
  private readonly directories = new Map<number, Directory>();
  private readonly beginning: Platter;
  private replayed: Platter;
  private next = ROOT + 1;

  /** @param platter what is there from the beginning; nothing of it is open */
  constructor(platter: Platter = new Platter()) {
    this.beginning = platter;
    this.replayed = platter.copy();
    for (const [inode, { content, names }] of platter.inodes) {
      if (content) this.files.set(inode, { inode, content: content.copy() });
      if (names) this.directories.set(inode, { inode, names: new Map(names) });
      this.next = Math.max(this.next, inode + 1);
    }
  }

  /** The platter after the first `moment` operations of the log. Asking for growing moments costs least. */
  at(moment: number): Platter {
    if (moment < this.replayed.moment) this.replayed = this.beginning.copy();
    while (this.replayed.moment < moment) {
      const operation = this.log[this.replayed.moment];
      if (operation === undefined) throw new Error(`the log has no moment ${moment}`);
      this.replayed.apply(operation);
    }
    return this.replayed;
  }

  /** @throws ENOENT, ENOTDIR */
  find(path: string, syscall: string): number {
    let inode = ROOT;
    for (const name of split(path)) {
      const names = this.directories.get(inode)?.names;
      if (names === undefined) throw systemError("ENOTDIR", syscall, path);
      const found = names.get(name);
      if (found === undefined) throw systemError("ENOENT", syscall, path);
      inode = found;
    }
    return inode;
  }

  isDirectory(inode: number): boolean {
    return this.directories.has(inode);
  }

  size(inode: number): number {
    return this.files.get(inode)?.content.size ?? 0;
  }

  read(inode: number, into: Uint8Array, at: number, length: number, position: number): number {
    return this.file(inode).content.read(into, at, length, position);
  }

  write(inode: number, bytes: Uint8Array, position: number): void {
    const kept = Uint8Array.from(bytes);
    this.file(inode).content.write(kept, position);
    this.log.push({ type: "write", inode, position, bytes: kept });
  }

  truncate(inode: number, bytes: number): void {
    this.file(inode).content.truncate(bytes);
    this.log.push({ type: "truncate", inode, bytes });
  }

  sync(inode: number, begun: number, failed: boolean): void {
    this.log.push({ type: "sync", inode, begun, failed });
  }

  /** @throws EEXIST, ENOENT, ENOTDIR */
  make(path: string, kind: "file" | "directory", syscall: string): number {
    const { parent, name } = this.place(path, syscall);
    if (parent.names.has(name)) throw systemError("EEXIST", syscall, path);
    const inode = this.next++;
    if (kind === "file") this.files.set(inode, { inode, content: new Content() });
    else this.directories.set(inode, { inode, names: new Map() });
    this.log.push({ type: "make", inode, kind });
    this.name(parent, [[name, inode]]);
    return inode;
  }

  /** @throws ENOENT, ENOTDIR, EEXIST, EPERM (of a directory) */
  link(path: string, name: string): void {
    const inode = this.find(path, "link");
    const place = this.place(name, "link");
    if (place.parent.names.has(place.name)) throw systemError("EEXIST", "link", path, name);
    if (this.isDirectory(inode)) throw systemError("EPERM", "link", path, name);
    this.name(place.parent, [[place.name, inode]]);
  }

  /** @throws ENOENT, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL (a directory into itself) */
  rename(path: string, to: string): void {
    const [old, place] = [this.place(path, "rename"), this.place(to, "rename")];
    const inode = this.find(path, "rename");
    const replaced = place.parent.names.get(place.name);
    const refusal = this.refuseRename(inode, replaced, path, to);
    if (refusal !== undefined) throw systemError(refusal, "rename", path, to);
    // Two names of one file: POSIX does nothing.
    if (replaced === inode) return;
    const [set, cleared] = [[place.name, inode] as const, [old.name, undefined] as const];
    if (old.parent === place.parent) this.name(place.parent, [set, cleared]);
    else {
      this.name(place.parent, [set]);
      this.name(old.parent, [cleared]);
    }
  }

  /** @throws ENOTDIR, ERR_FS_EISDIR, as `rm` with `force` does */
  remove(path: string): void {
    const inode = this.findUnlessMissing(path);
    if (inode === undefined) return;
    const { parent, name } = this.place(path, "rm");
    if (this.isDirectory(inode)) throw systemError("ERR_FS_EISDIR", "rm", path);
    this.name(parent, [[name, undefined]]);
  }

  /** @throws ENOENT, ENOTDIR, ENOTEMPTY */
  removeDirectory(path: string): void {
    const directory = this.directories.get(this.find(path, "rmdir"));
    if (directory === undefined) throw systemError("ENOTDIR", "rmdir", path);
    if (directory.names.size > 0) throw systemError("ENOTEMPTY", "rmdir", path);
    const { parent, name } = this.place(path, "rmdir");
    this.name(parent, [[name, undefined]]);
  }

  /** @throws ENOENT, ENOTDIR */
  list(path: string): string[] {
    const directory = this.directories.get(this.find(path, "scandir"));
    if (directory === undefined) throw systemError("ENOTDIR", "scandir", path);
    return [...directory.names.keys()].sort();
  }

  /** @throws ENOTDIR */
  findUnlessMissing(path: string): number | undefined {
    try {
      return this.find(path, "open");
    } catch (error) {
      if (systemCode(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Every file by its path, as processes see it. */
  *everyFile(path = "", inode = ROOT): Generator<[path: string, bytes: Buffer]> {
    for (const [name, child] of this.directories.get(inode)?.names ?? []) {
      const file = this.files.get(child);
      if (file === undefined) yield* this.everyFile(`${path}/${name}`, child);
      else {
        const bytes = Buffer.alloc(file.content.size);
        file.content.read(bytes, 0, bytes.length, 0);
        yield [`${path}/${name}`, bytes];
      }
    }
  }

  private refuseRename(inode: number, replaced: number | undefined, path: string, to: string) {
    if (this.isDirectory(inode) && `${to}/`.startsWith(`${path}/`)) return path === to ? undefined : "EINVAL";
    if (replaced === undefined) return undefined;
    if (!this.isDirectory(inode)) return this.isDirectory(replaced) ? "EISDIR" : undefined;
    const inTheWay = this.directories.get(replaced);
    if (inTheWay === undefined) return "ENOTDIR";
    return inTheWay.names.size > 0 ? "ENOTEMPTY" : undefined;
  }

  private name(directory: Directory, changes: readonly (readonly [string, number | undefined])[]): void {
    for (const [name, inode] of changes)
      if (inode === undefined) directory.names.delete(name);
      else directory.names.set(name, inode);
    this.log.push({ type: "names", inode: directory.inode, changes });
  }

  /** Where a path's last name stands or would stand. @throws ENOENT, ENOTDIR, EEXIST (the root) */
  private place(path: string, syscall: string): { parent: Directory; name: string } {
    const names = split(path);
    const name = names.pop();
    if (name === undefined) throw systemError("EEXIST", syscall, path);
    const parent = this.directories.get(this.find(`/${names.join("/")}`, syscall));
    if (parent === undefined) throw systemError("ENOTDIR", syscall, path);
    return { parent, name };
  }

  private file(inode: number): File {
    const file = this.files.get(inode);
    if (file === undefined) throw systemError("EISDIR", "read");
    return file;
  }
}

/** An error as Node's file system gives it. */
export function systemError(code: string, syscall: string, path?: string, to?: string): Error {
  const place = path === undefined ? "" : ` '${path}'${to === undefined ? "" : ` -> '${to}'`}`;
  const message = `${code}: a simulated disk says no, ${syscall}${place}`;
  return Object.assign(new Error(message), { code, syscall, ...(path !== undefined && { path }) });
}

function split(path: string): string[] {
  if (!path.startsWith("/")) throw new Error(`a simulated disk knows whole paths only, not ${path}`);
  return path.split("/").filter((name) => name !== "");
}
