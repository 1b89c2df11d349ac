/**
 * Reads a journal from its first byte to the last whole frame: the only way in which a node recovers, the
 * forwarder reads, finance accounts and a ledger is rebuilt.
 *
 * Every frame must fit its place (journal, offset, chain). Where one does not, what lies behind decides: a
 * `durable` statement about anything at or behind the damage, or another segment, means that synced bytes were
 * changed (`corrupt_journal`, with the place); otherwise it is the torn tail of a crash or of a live journal,
 * and reading simply ends there. A reader can go on later from where it ended.
 */
import { join } from "node:path";
import { HongbaoError, systemCode } from "../format/error.ts";
import {
  DURABLE_MAGIC,
  decodeDurable,
  decodeFrame,
  decodeSegmentHeader,
  FRAME_BODY_BYTES_MAX,
  FRAME_HEAD_BYTES,
  type Frame,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from "../format/frame.ts";
import { type Disk, type DiskFile, machineDisk } from "./disk.ts";
import { fileProblem } from "./durable.ts";

export interface JournalEntry {
  /** Stream offset of the frame's first byte. */
  readonly offset: number;
  /** Stream offset behind its last byte. */
  readonly end: number;
  readonly frame: Frame;
}

export interface JournalIdentity {
  readonly journalId: Buffer;
  readonly campaignTag: number;
  readonly epoch: number;
  readonly shard: number;
}

const CHUNK_BYTES = 256 * 1024;

export function segmentPath(dir: string, segment: number): string {
  return join(dir, `segment-${segment.toString().padStart(8, "0")}.log`);
}

/** @throws HongbaoError `missing_file` if `dir` holds no journal, `corrupt_journal` if its first header is damaged */
export async function openJournalReader(dir: string, disk: Disk = machineDisk): Promise<JournalReader> {
  if ((await segmentCount(dir, disk)) === 0)
    throw new HongbaoError("missing_file", `${dir} holds no journal (no segment-00000000.log)`);
  const header = await readHeader(dir, 0, disk);
  const { journalId, campaignTag, epoch, shard } = header;
  return new JournalReader(dir, { journalId: Buffer.from(journalId), campaignTag, epoch, shard }, disk);
}

/** Segments in `dir`, numbered without a gap from 0. @throws HongbaoError `corrupt_journal` for a gap */
export async function segmentCount(dir: string, disk: Disk = machineDisk): Promise<number> {
  let names: string[];
  try {
    names = await disk.list(dir);
  } catch (cause) {
    if (systemCode(cause) === "ENOENT" || systemCode(cause) === "ENOTDIR") return 0;
    throw fileProblem(cause, dir, "the journal");
  }
  const found = names.filter((name) => /^segment-\d{8}\.log$/.test(name)).sort();
  for (const [i, name] of found.entries())
    if (join(dir, name) !== segmentPath(dir, i))
      throw new HongbaoError("corrupt_journal", `${segmentPath(dir, i)} is missing, though ${name} is there`);
  return found.length;
}

export class JournalReader {
  readonly identity: JournalIdentity;
  private readonly dir: string;
  private readonly disk: Disk;
  private segment = 0;
  private handle: DiskFile | undefined;
  private segmentOffset = 0;
  private at = 0;
  private crc = 0;

  constructor(dir: string, identity: JournalIdentity, disk: Disk) {
    this.dir = dir;
    this.disk = disk;
    this.identity = identity;
  }

  /** Stream offset behind the last frame read. */
  get offset(): number {
    return this.at;
  }

  /** CRC of the last frame read: the chain of the next one. */
  get chain(): number {
    return this.crc;
  }

  /** The segment that was read last, and the file position behind its last whole frame. */
  get place(): { segment: number; position: number } {
    return { segment: this.segment, position: this.at - this.segmentOffset + SEGMENT_HEADER_BYTES };
  }

  /**
   * The frames from here up to `limit` (stream offset) or to the last whole one.
   * @param from frames before it are checked, but not yielded
   * @throws HongbaoError `corrupt_journal`
   */
  async *entries(from = 0, limit = Number.MAX_SAFE_INTEGER): AsyncGenerator<JournalEntry> {
    for (;;) {
      const handle = this.handle ?? (await this.openSegment());
      this.handle = handle;
      for await (const entry of this.frames(handle, limit)) if (entry.offset >= from) yield entry;
      if (this.at >= limit || (await segmentCount(this.dir, this.disk)) <= this.segment + 1) return;
      await this.leaveSegment(handle);
    }
  }

  async close(): Promise<void> {
    await this.handle?.close();
    this.handle = undefined;
  }

  private async *frames(handle: DiskFile, limit: number): AsyncGenerator<JournalEntry> {
    let buffer: Buffer = Buffer.alloc(0);
    while (this.at < limit) {
      const decoded = decodeFrame(buffer, this.identity.journalId, this.at, this.crc);
      if (decoded.state === "frame") {
        const offset = this.at;
        if (offset + decoded.bytes > limit) return;
        this.at += decoded.bytes;
        this.crc = decoded.crc;
        buffer = buffer.subarray(decoded.bytes);
        yield { offset, end: this.at, frame: decoded.frame };
        continue;
      }
      if (decoded.state === "damaged") {
        if ((await this.judge(handle, decoded.why)) === "tail") return;
        buffer = Buffer.alloc(0);
        continue;
      }
      const known = buffer.length;
      const wanted = Math.max(Math.min(CHUNK_BYTES, limit - this.at - known), decoded.bytes - known);
      const more = await this.read(handle, this.place.position + known, wanted);
      if (more.length > 0) buffer = known === 0 ? more : Buffer.concat([buffer, more]);
      else if (known === 0 || (await this.judge(handle, "an incomplete frame")) === "tail") return;
      else buffer = Buffer.alloc(0);
    }
  }

  /**
   * Damage at `place`. Throws if something synced was changed.
   * @returns "tail" if it may be a crash's torn tail, "again" if a live writer has completed the frame since
   */
  private async judge(handle: DiskFile, why: string): Promise<"tail" | "again"> {
    const durable = await this.statementBehind(handle);
    const followed = (await segmentCount(this.dir, this.disk)) > this.segment + 1;
    if (durable <= this.at && !followed) return "tail";
    // What is known to be synced by now may have been half written when it was read.
    const bytes = await this.read(handle, this.place.position, FRAME_HEAD_BYTES + FRAME_BODY_BYTES_MAX);
    if (decodeFrame(bytes, this.identity.journalId, this.at, this.crc).state === "frame") return "again";
    throw new HongbaoError(
      "corrupt_journal",
      `${segmentPath(this.dir, this.segment)} is corrupt at byte ${this.place.position}: ${why}, though ${
        followed ? "another segment follows" : `everything up to offset ${durable} had been synced`
      }; restore the file from a copy`,
    );
  }

  /** The furthest "durable up to" of any statement in the rest of this segment. */
  private async statementBehind(handle: DiskFile): Promise<number> {
    let furthest = 0;
    let carry: Buffer = Buffer.alloc(0);
    for (let position = this.place.position; ; ) {
      const chunk = await this.read(handle, position, CHUNK_BYTES);
      if (chunk.length === 0) return furthest;
      position += chunk.length;
      const bytes = Buffer.concat([carry, chunk]);
      for (let i = bytes.indexOf(DURABLE_MAGIC); i >= 0; i = bytes.indexOf(DURABLE_MAGIC, i + 1))
        furthest = Math.max(furthest, decodeDurable(bytes.subarray(i), this.identity.journalId)?.upTo ?? 0);
      carry = bytes.subarray(Math.max(0, bytes.length - 2 * FRAME_HEAD_BYTES - 64));
    }
  }

  private read(handle: DiskFile, position: number, length: number): Promise<Buffer> {
    return readUpTo(handle, segmentPath(this.dir, this.segment), position, length);
  }

  private async openSegment(): Promise<DiskFile> {
    const header = await readHeader(this.dir, this.segment, this.disk);
    const fits =
      this.identity.journalId.equals(header.journalId) &&
      header.segment === this.segment &&
      header.offset === this.at &&
      header.chain === this.crc;
    if (!fits)
      throw new HongbaoError(
        "corrupt_journal",
        `${segmentPath(this.dir, this.segment)} does not continue the journal before it: restore the file from a copy`,
      );
    this.segmentOffset = header.offset;
    return await openToRead(segmentPath(this.dir, this.segment), this.disk);
  }

  /** Steps into the next segment. What was a tail a moment ago may have been completed since: read on first. */
  private async leaveSegment(handle: DiskFile): Promise<void> {
    const left = await this.read(handle, this.place.position, FRAME_HEAD_BYTES);
    if (left.length > 0) return;
    await handle.close();
    this.handle = undefined;
    this.segment++;
  }
}

async function readHeader(dir: string, segment: number, disk: Disk): Promise<SegmentHeader> {
  const path = segmentPath(dir, segment);
  const handle = await openToRead(path, disk);
  try {
    const header = decodeSegmentHeader(await readUpTo(handle, path, 0, SEGMENT_HEADER_BYTES));
    if (header) return header;
    throw new HongbaoError("corrupt_journal", `${path} has a damaged header: restore the file from a copy`);
  } finally {
    await handle.close();
  }
}

function openToRead(path: string, disk: Disk): Promise<DiskFile> {
  return disk.open(path, "r").catch((cause) => {
    throw fileProblem(cause, path, "the journal segment");
  });
}

async function readUpTo(handle: DiskFile, path: string, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, position + done).catch((cause) => {
      throw fileProblem(cause, path, "the journal segment");
    });
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}
