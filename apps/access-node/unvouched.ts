/**
 * Where the journal ended when its node began to write without a ledger's word on it.
 *
 * A ledger that holds more of the journal than that has seen a newer one: this is an older copy. What the node
 * appends itself would soon reach as far as the ledger's word and hide it. So the place is on the disk before the
 * node writes its first frame, it outlives every crash, and goes only when a ledger has vouched for the journal:
 * before the first claim is sent, because a ledger's word may rightly grow from then on.
 */
import { dirname, join } from "node:path";
import { HongbaoError } from "../../core/format/error.ts";
import type { Disk } from "../../core/store/disk.ts";
import { exists, publish, readSmallFile, syncDirectory } from "../../core/store/durable.ts";

const FILE_BYTES_MAX = 64;

export class Unvouched {
  private readonly path: string;
  private readonly disk: Disk;
  private place: number | undefined;

  private constructor(path: string, disk: Disk, place: number) {
    this.path = path;
    this.disk = disk;
    this.place = place;
  }

  /**
   * @param dir the node's own
   * @param endsAt where the journal ends that was just recovered
   * @throws HongbaoError `corrupt_journal` if the place was written down before and cannot be read
   */
  static async since(dir: string, endsAt: number, disk: Disk): Promise<Unvouched> {
    const path = join(dir, "unvouched");
    if (await exists(path, disk)) return new Unvouched(path, disk, Math.min(endsAt, await read(path, disk)));
    await publish(path, `${endsAt}\n`, 0o600, disk);
    return new Unvouched(path, disk, endsAt);
  }

  /** Stream offset that no honest ledger can be beyond; undefined once a ledger has vouched. */
  get offset(): number | undefined {
    return this.place;
  }

  /** A ledger has vouched. */
  async clear(): Promise<void> {
    if (this.place === undefined) return;
    // If we die here, the ledger vouches again: nothing was sent since.
    await this.disk.remove(this.path);
    await syncDirectory(dirname(this.path), this.disk);
    this.place = undefined;
  }
}

async function read(path: string, disk: Disk): Promise<number> {
  const text = (await readSmallFile(path, "the mark of the journal", FILE_BYTES_MAX, disk)).toString(
    "latin1",
  );
  if (/^\d{1,15}\n$/.test(text)) return Number(text);
  throw new HongbaoError(
    "corrupt_journal",
    `${path} is damaged, which says how much of the journal a ledger may hold: make sure that this journal is no older copy, then remove that file`,
  );
}
