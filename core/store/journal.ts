/**
 * A shard's journal, written: one append-only stream of frames in segments, one writer.
 *
 * `append` gives a frame its place at once and never waits. `written` resolves when the bytes are with the
 * kernel (they survive kill -9), `durable` when they are on the disk (they survive a power loss). All frames of
 * a loop turn go out in one write; all that wait for the disk share one fdatasync (group commit), and writes
 * go on while it runs. Each group begins with a statement of what was durable before it.
 *
 * A failed or short write or sync ends the journal at once and is never retried: after a failed fsync nobody
 * knows what the disk holds (PostgreSQL's "fsyncgate"). The node stops; recovery reads what is really there.
 */
import { HongbaoError, invariant, messageOf } from "../format/error.ts";
import { encodeFrame, encodeSegmentHeader, type Frame, SEGMENT_HEADER_BYTES } from "../format/frame.ts";
import { type Disk, type DiskFile, machineDisk } from "./disk.ts";
import { publish } from "./durable.ts";
import {
  type JournalEntry,
  type JournalIdentity,
  type JournalReader,
  openJournalReader,
  segmentCount,
  segmentPath,
} from "./journal-reader.ts";
import { OffsetGate } from "./offset-gate.ts";

const SEGMENT_BYTES = 64 * 1024 * 1024;
const SETTLED_BYTES = 1024 * 1024;

export interface JournalOptions {
  /** Called once, when a write or a sync failed: the process must stop. */
  readonly onFailure: (error: HongbaoError) => void;
  /** A new segment is begun behind this many bytes. */
  readonly segmentBytes?: number | undefined;
  readonly disk?: Disk;
}

export class Journal {
  readonly identity: JournalIdentity;
  private readonly dir: string;
  private readonly options: JournalOptions;
  private readonly disk: Disk;
  private handle: DiskFile;
  private segment: number;
  /** Bytes of the current segment file. */
  private position: number;
  private pending: Buffer[] = [];
  private appended: number;
  /** CRC of the last appended frame, and of the last written one. */
  private chain: number;
  private writtenChain: number;
  private pumping: Promise<void> | undefined;
  private syncing: Promise<void> | undefined;
  private syncWanted: number;
  private statementDue = true;
  private failure: HongbaoError | undefined;
  private readonly writtenGate: OffsetGate;
  private readonly durableGate: OffsetGate;

  private constructor(
    dir: string,
    identity: JournalIdentity,
    handle: DiskFile,
    at: { segment: number; position: number; offset: number; chain: number },
    options: JournalOptions,
  ) {
    this.dir = dir;
    this.identity = identity;
    this.handle = handle;
    this.segment = at.segment;
    this.position = at.position;
    this.appended = at.offset;
    this.chain = at.chain;
    this.writtenChain = at.chain;
    this.syncWanted = at.offset;
    this.options = options;
    this.disk = options.disk ?? machineDisk;
    this.writtenGate = new OffsetGate(at.offset);
    this.durableGate = new OffsetGate(at.offset);
  }

  /** Creates an empty journal; its ID is to be a new random one. @throws HongbaoError `already_exists` */
  static async create(dir: string, identity: JournalIdentity, disk: Disk = machineDisk): Promise<void> {
    const header = { ...identity, segment: 0, offset: 0, chain: 0 };
    await publish(segmentPath(dir, 0), encodeSegmentHeader(header), 0o600, disk);
  }

  /**
   * Recovers a journal: replays every whole frame, cuts a crash's torn tail, and puts on the disk what it found,
   * because the answers that will be given again must not rest on bytes that only the page cache holds.
   * @throws HongbaoError `missing_file`, `corrupt_journal`, `journal_failed`
   */
  static async recover(
    dir: string,
    replay: (entry: JournalEntry) => void,
    options: JournalOptions,
  ): Promise<Journal> {
    const disk = options.disk ?? machineDisk;
    const reader = await openJournalReader(dir, disk);
    let settled = 0;
    try {
      for await (const entry of reader.entries()) {
        replay(entry);
        if (entry.frame.type === "durable") settled = entry.frame.upTo;
      }
    } finally {
      await reader.close();
    }
    const { segment, position } = reader.place;
    invariant(segment === (await segmentCount(dir, disk)) - 1, "reading ends in the last segment");
    const path = segmentPath(dir, segment);
    const handle = await disk.open(path, "r+");
    const unsettled = Math.max(SEGMENT_HEADER_BYTES, position - (reader.offset - settled));
    await settle(handle, unsettled, position).catch(async (cause) => {
      await handle.close();
      throw new HongbaoError(
        "journal_failed",
        `${path} could not be recovered (${messageOf(cause)}): free or repair the disk, then start the node again`,
        { cause },
      );
    });
    return new Journal(
      dir,
      reader.identity,
      handle,
      { segment, position, offset: reader.offset, chain: reader.chain },
      options,
    );
  }

  /** Stream offset up to which everything is on the disk. */
  get durableOffset(): number {
    return this.durableGate.reached;
  }

  /** Stream offset behind the last appended frame. */
  get appendedOffset(): number {
    return this.appended;
  }

  /** @throws HongbaoError `journal_failed` once it has failed: nothing may be promised any more */
  assertWhole(): void {
    if (this.failure) throw this.failure;
  }

  /** @returns the stream offset behind the frame. @throws HongbaoError `journal_failed` */
  append(frame: Frame): number {
    this.assertWhole();
    if (this.statementDue) {
      this.statementDue = false;
      this.push({ type: "durable", offset: this.appended, upTo: this.durableGate.reached });
    }
    this.push(frame);
    this.pumping ??= this.pump();
    return this.appended;
  }

  /** A reader of this journal, from its beginning on. */
  reader(): Promise<JournalReader> {
    return openJournalReader(this.dir, this.disk);
  }

  /** Resolves when everything before `offset` is with the kernel. */
  written(offset: number): Promise<void> {
    return this.writtenGate.wait(offset);
  }

  /** Resolves when everything before `offset` is on the disk. */
  durable(offset: number): Promise<void> {
    if (offset > this.syncWanted) this.syncWanted = offset;
    this.startSync();
    return this.durableGate.wait(offset);
  }

  /** Resolves when more than `offset` is on the disk. Waits for a sync that others ask for; asks for none. */
  durablePast(offset: number): Promise<void> {
    return this.durableGate.wait(offset + 1);
  }

  /** Makes everything durable, says so in a last statement, and closes the file. */
  async close(): Promise<void> {
    await this.durable(this.appended);
    this.push({ type: "durable", offset: this.appended, upTo: this.durableGate.reached });
    this.pumping ??= this.pump();
    await this.durable(this.appended);
    await this.pumping;
    await this.syncing;
    await this.handle.close();
  }

  private push(frame: Frame): void {
    const { bytes, crc } = encodeFrame(frame, this.identity.journalId, this.appended, this.chain);
    this.pending.push(bytes);
    this.appended += bytes.length;
    this.chain = crc;
  }

  /** Writes all that a loop turn appended in one go, until nothing is left. */
  private async pump(): Promise<void> {
    try {
      await new Promise((resolve) => setImmediate(resolve));
      while (this.pending.length > 0) {
        this.assertWhole();
        if (this.position >= (this.options.segmentBytes ?? SEGMENT_BYTES)) await this.roll();
        const bytes = Buffer.concat(this.pending);
        const { appended: end, chain } = this;
        this.pending = [];
        const { bytesWritten } = await this.handle.write(bytes, 0, bytes.length, this.position);
        if (bytesWritten !== bytes.length)
          throw new Error(`${bytesWritten} of ${bytes.length} bytes were written`);
        this.position += bytes.length;
        this.writtenChain = chain;
        this.writtenGate.advance(end);
        this.startSync();
      }
      this.pumping = undefined;
    } catch (cause) {
      this.fail(cause, "written");
    }
  }

  private startSync(): void {
    const behind = this.durableGate.reached < this.syncWanted;
    if (this.syncing || this.failure || !behind || this.writtenGate.reached === this.durableGate.reached)
      return;
    this.syncing = this.sync().finally(() => {
      this.syncing = undefined;
      this.startSync();
    });
  }

  private async sync(): Promise<void> {
    const upTo = this.writtenGate.reached;
    try {
      await this.handle.datasync();
    } catch (cause) {
      return this.fail(cause, "synced");
    }
    this.statementDue = true;
    this.durableGate.advance(upTo);
  }

  /** Begins the next segment. The old one is synced whole first: only the last segment may ever be cut. */
  private async roll(): Promise<void> {
    await this.syncing;
    this.assertWhole();
    await this.handle.sync();
    // A sync that began meanwhile may have failed: what it covered would lie in front of the next segment.
    this.assertWhole();
    this.statementDue = true;
    this.durableGate.advance(this.writtenGate.reached);
    const header = {
      ...this.identity,
      segment: this.segment + 1,
      offset: this.writtenGate.reached,
      chain: this.writtenChain,
    };
    // If we die here, recovery ends in the old segment, whole; if behind the next line, in an empty new one.
    await publish(segmentPath(this.dir, header.segment), encodeSegmentHeader(header), 0o600, this.disk);
    const next = await this.disk.open(segmentPath(this.dir, header.segment), "r+");
    const old = this.handle;
    this.handle = next;
    this.segment = header.segment;
    this.position = SEGMENT_HEADER_BYTES;
    await this.syncing;
    await old.close();
  }

  private fail(cause: unknown, verb: string): void {
    if (this.failure) return;
    this.failure = new HongbaoError(
      "journal_failed",
      `the journal in ${this.dir} could not be ${verb} (${messageOf(cause)}): the node stops; free or repair the disk, then start it again`,
      { cause },
    );
    this.writtenGate.fail(this.failure);
    this.durableGate.fail(this.failure);
    this.options.onFailure(this.failure);
  }
}

/**
 * Puts on the disk what recovery read between `from` and `to`, and cuts what lies behind. It is written once more:
 * after a failed sync the kernel takes its pages for clean, shows them, and a further sync writes nothing of them.
 */
async function settle(file: DiskFile, from: number, to: number): Promise<void> {
  // If we die here, the tail is cut again, at the same place.
  await file.truncate(to);
  const bytes = Buffer.allocUnsafe(Math.min(SETTLED_BYTES, to - from));
  for (let at = from; at < to; ) {
    const { bytesRead } = await file.read(bytes, 0, Math.min(bytes.length, to - at), at);
    const { bytesWritten } = await file.write(bytes, 0, bytesRead, at);
    if (bytesRead === 0 || bytesWritten < bytesRead) throw new Error(`it could not be written at byte ${at}`);
    at += bytesRead;
  }
  await file.sync();
}
