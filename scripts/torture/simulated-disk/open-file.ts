/**
 * A file of a simulated disk, opened by one process.
 */
import type { DiskFile } from "../../../core/store/disk.ts";
import type { DiskProcess } from "./disk-process.ts";
import { systemError } from "./storage.ts";

export class OpenFile implements DiskFile {
  private readonly process: DiskProcess;
  private readonly inode: number;
  private readonly path: string;
  private readonly flags: "r" | "r+" | "wx";
  /** Where the next read or write without a position begins. */
  private at = 0;
  private closed = false;

  constructor(process: DiskProcess, inode: number, path: string, flags: "r" | "r+" | "wx") {
    this.process = process;
    this.inode = inode;
    this.path = path;
    this.flags = flags;
  }

  async read(into: Uint8Array, at: number, length: number, position: number | null) {
    this.check("read", "wx");
    const bytesRead = await this.process.attempt("read", this.path, () => {
      const read = this.process.storage.read(this.inode, into, at, length, position ?? this.at);
      if (position === null) this.at += read;
      return read;
    });
    return { bytesRead };
  }

  async write(from: Uint8Array, at: number, length: number, position: number) {
    this.check("write", "r");
    return { bytesWritten: await this.put(from.subarray(at, at + length), () => position) };
  }

  async writeFile(content: Uint8Array | string): Promise<void> {
    this.check("write", "r");
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    // As the machine's: as many writes as it takes.
    for (let done = 0; done < bytes.length; ) {
      const written = await this.put(bytes.subarray(done), () => this.at);
      this.at += written;
      done += written;
    }
  }

  async truncate(bytes: number): Promise<void> {
    this.check("ftruncate");
    if (this.flags === "r") throw systemError("EINVAL", "ftruncate");
    await this.process.attempt("truncate", this.path, () => this.process.storage.truncate(this.inode, bytes));
  }

  async sync(): Promise<void> {
    this.check("fsync");
    await this.process.sync("sync", this.inode, this.path);
  }

  async datasync(): Promise<void> {
    this.check("fdatasync");
    await this.process.sync("datasync", this.inode, this.path);
  }

  async stat(): Promise<{ size: number }> {
    this.check("fstat");
    return await this.process.attempt("stat", this.path, () => ({
      size: this.process.storage.size(this.inode),
    }));
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.process.attempt("close", this.path, () => {});
  }

  private put(from: Uint8Array, position: () => number): Promise<number> {
    const write = (length: number) => {
      this.process.storage.write(this.inode, from.subarray(0, length), position());
      return length;
    };
    // What is being written may change before it is: the caller keeps its hands off until then.
    return this.process.attempt("write", this.path, {
      whole: () => write(from.length),
      half: () => write(from.length >>> 1),
    });
  }

  private check(syscall: string, refused?: "r" | "wx"): void {
    if (this.closed || this.flags === refused) throw systemError("EBADF", syscall);
  }
}
