/**
 * The machine's disk, watched: every call that durability rests on is noted, may be held up or refused by the test
 * before it reaches the disk, and files that stay open are counted.
 */
import { basename } from "node:path";
import { type Disk, type DiskFile, machineDisk } from "../../core/store/disk.ts";

export class WatchedDisk {
  /** `open`, `write BYTES`, `truncate BYTES`, `sync`, `datasync`, `close`, `link`, each with the file's name. */
  readonly events: string[] = [];
  openFiles = 0;
  /** Called before each of them; what it throws the caller gets. */
  before: (event: string) => void | Promise<void> = () => {};
  /** Bytes that the next write takes, as a disk that is full takes some. */
  nextWriteBytes: number | undefined;

  readonly disk: Disk = {
    ...machineDisk,
    open: async (path, flags, mode) => {
      const name = basename(path);
      await this.note(`open ${name} ${flags}`);
      const file = await machineDisk.open(path, flags, mode);
      this.openFiles++;
      return this.watch(file, name);
    },
    link: async (path, name) => {
      await this.note(`link ${basename(name)}`);
      await machineDisk.link(path, name);
    },
  };

  /** The events of a file, without its name. */
  of(name: string): string[] {
    return this.events.filter((event) => event.includes(name)).map((event) => event.replace(` ${name}`, ""));
  }

  private watch(file: DiskFile, name: string): DiskFile {
    return {
      read: (into, at, length, position) => file.read(into, at, length, position),
      write: async (from, at, length, position) => {
        await this.note(`write ${name} ${length}`);
        const most = this.nextWriteBytes ?? length;
        this.nextWriteBytes = undefined;
        return await file.write(from, at, Math.min(most, length), position);
      },
      writeFile: (bytes) => file.writeFile(bytes),
      truncate: async (bytes) => {
        await this.note(`truncate ${name} ${bytes}`);
        await file.truncate(bytes);
      },
      sync: async () => {
        await this.note(`sync ${name}`);
        await file.sync();
      },
      datasync: async () => {
        await this.note(`datasync ${name}`);
        await file.datasync();
      },
      stat: () => file.stat(),
      close: async () => {
        await this.note(`close ${name}`);
        await file.close();
        this.openFiles--;
      },
    };
  }

  private async note(event: string): Promise<void> {
    this.events.push(event);
    await this.before(event);
  }
}
