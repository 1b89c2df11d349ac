import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Frame } from "../../../core/format/frame.ts";
import { type Disk, machineDisk } from "../../../core/store/disk.ts";
import { Journal } from "../../../core/store/journal.ts";
import { openJournalReader, segmentCount, segmentPath } from "../../../core/store/journal-reader.ts";

const newIdentity = () => ({ campaignTag: 7, epoch: 1, shard: 3, journalId: randomBytes(16) });
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "journal-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function claim(serial: number): Frame {
  const holder = { user: `user-${serial}`, device: "phone", atMs: 1_800_000_000_000 + serial };
  return { type: "claim", serial, token: Buffer.alloc(45, serial), ...holder };
}

async function open(path = dir, segmentBytes = 64 * 1024 * 1024): Promise<{ journal: Journal }> {
  const onFailure = (error: Error) => {
    throw error;
  };
  return { journal: await Journal.recover(path, () => {}, { onFailure, segmentBytes }) };
}

/** A journal of `claims`, each of them synced, so that a statement follows each but the last. */
async function written(claims: number, segmentBytes?: number): Promise<void> {
  await Journal.create(dir, newIdentity());
  const { journal } = await open(dir, segmentBytes);
  for (let i = 0; i < claims; i++) {
    journal.append(claim(i));
    await journal.durable(journal.appendedOffset);
  }
  await journal.close();
}

async function serials(path = dir, disk: Disk = machineDisk): Promise<number[]> {
  const found: number[] = [];
  const reader = await openJournalReader(path, disk);
  try {
    for await (const { frame } of reader.entries()) if (frame.type === "claim") found.push(frame.serial);
  } finally {
    await reader.close();
  }
  return found;
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

/**
 * The disk as a reader meets it beside a live writer: of one file it sees another content, until something happens
 * after which the writer is done.
 */
class Beside {
  readonly disk: Disk;
  private done = false;

  constructor(path: string, seen: Buffer, isDone: (event: "end" | "list") => boolean) {
    this.disk = {
      ...machineDisk,
      list: async (name) => {
        const names = await machineDisk.list(name);
        this.done ||= isDone("list");
        return names;
      },
      open: async (name, flags, mode) => {
        const file = await machineDisk.open(name, flags, mode);
        if (name !== path) return file;
        const read = file.read.bind(file);
        file.read = async (into, at, length, position) => {
          if (this.done || position === null) return await read(into, at, length, position);
          const bytesRead = seen.copy(into, at, position, Math.min(position + length, seen.length));
          if (bytesRead === 0) this.done ||= isDone("end");
          return { bytesRead };
        };
        return file;
      },
    };
  }
}

/** True at the n-th time that this happens. */
function onNth(n: number, wanted: "end" | "list"): (event: "end" | "list") => boolean {
  let count = 0;
  return (event) => event === wanted && ++count >= n;
}

describe("journal reader", () => {
  it("every flipped bit in front of the last statement is named as corruption, never silently cut", async () => {
    await Journal.create(dir, newIdentity());
    const { journal } = await open();
    for (let i = 0; i < 2; i++) {
      journal.append(claim(i));
      await journal.durable(journal.appendedOffset);
    }
    await journal.close();
    const path = segmentPath(dir, 0);
    const good = readFileSync(path);
    // The closing statement itself is the last frame: what damages only it loses nothing.
    const closing = good.lastIndexOf(Buffer.from("hbdurabl")) - 9;
    for (let bit = 0; bit < closing * 8; bit++) {
      const bad = Buffer.from(good);
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      writeFileSync(path, bad);
      await expect(serials(), `bit ${bit}`).rejects.toMatchObject({ code: "corrupt_journal" });
    }
    writeFileSync(path, good);
    expect(await serials()).toEqual([0, 1]);
  }, 180_000);

  it("frames that were swapped, repeated or taken from another journal do not fit", async () => {
    await Journal.create(dir, newIdentity());
    const { journal } = await open();
    for (let i = 0; i < 4; i++) journal.append(claim(i));
    await journal.close();
    const path = segmentPath(dir, 0);
    const good = readFileSync(path);
    const other = mkdtempSync(join(tmpdir(), "journal-"));
    await Journal.create(other, newIdentity());
    const second = await open(other);
    for (let i = 0; i < 4; i++) second.journal.append(claim(i));
    await second.journal.close();
    const foreign = readFileSync(segmentPath(other, 0));
    writeFileSync(path, Buffer.concat([good.subarray(0, 52), foreign.subarray(52)]));
    expect(await serials()).toEqual([]);
    writeFileSync(path, good);
    appendFileSync(path, good.subarray(52));
    expect(await serials()).toEqual([0, 1, 2, 3]);
    rmSync(other, { recursive: true });
  });

  it("a reader follows a journal that is still being written", async () => {
    await Journal.create(dir, newIdentity());
    const { journal } = await open(dir, 1500);
    const reader = await openJournalReader(dir);
    const seen: number[] = [];
    for (let i = 0; i < 100; i++) {
      journal.append(claim(i));
      await journal.durable(journal.appendedOffset);
      for await (const { frame } of reader.entries(0, journal.durableOffset))
        if (frame.type === "claim") seen.push(frame.serial);
      expect(seen.at(-1)).toBe(i);
    }
    await reader.close();
    await journal.close();
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  it("reads a journal of many chunks, with frames across their seams", async () => {
    await Journal.create(dir, newIdentity());
    const { journal } = await open();
    for (let i = 0; i < 4000; i++) journal.append(claim(i));
    await journal.close();
    expect(statSync(segmentPath(dir, 0)).size).toBeGreaterThan(300 * 1024);
    expect(await serials()).toEqual(upTo(4000));
  });

  it("up to a limit yields whole frames only, and goes on from there", async () => {
    await written(3);
    const reader = await openJournalReader(dir);
    const ends: number[] = [];
    for await (const { end } of reader.entries()) ends.push(end);
    await reader.close();
    for (let limit = 0; limit <= (ends.at(-1) ?? 0); limit++) {
      const partial = await openJournalReader(dir);
      const seen: number[] = [];
      for await (const { end } of partial.entries(0, limit)) seen.push(end);
      expect(seen).toEqual(ends.filter((end) => end <= limit));
      for await (const { end } of partial.entries()) seen.push(end);
      expect(seen).toEqual(ends);
      await partial.close();
    }
  });

  it("from an offset on yields nothing before it, though it checks it", async () => {
    await written(10);
    const all: number[] = [];
    const reader = await openJournalReader(dir);
    for await (const { offset } of reader.entries()) all.push(offset);
    await reader.close();
    const middle = all[7] ?? 0;
    const later = await openJournalReader(dir);
    const seen: number[] = [];
    for await (const { offset } of later.entries(middle)) seen.push(offset);
    await later.close();
    expect(seen).toEqual(all.slice(7));
  });

  it("a directory without a journal says what it looked for", async () => {
    const none = { code: "missing_file", message: expect.stringContaining("holds no journal") };
    await expect(openJournalReader(dir)).rejects.toMatchObject(none);
    await expect(openJournalReader(join(dir, "none"))).rejects.toMatchObject(none);
    writeFileSync(join(dir, "file"), "");
    await expect(openJournalReader(join(dir, "file"))).rejects.toMatchObject(none);
    symlinkSync("loop", join(dir, "loop"));
    await expect(openJournalReader(join(dir, "loop"))).rejects.toMatchObject({ code: "unreadable_file" });
  });

  it("a missing segment is named, also the first, and files of other names are none", async () => {
    await written(60, 1000);
    writeFileSync(join(dir, "segment-9.log"), "");
    const count = await segmentCount(dir);
    expect(count).toBeGreaterThan(3);
    renameSync(segmentPath(dir, 1), join(dir, "away"));
    await expect(serials()).rejects.toMatchObject({
      code: "corrupt_journal",
      message: `${segmentPath(dir, 1)} is missing, though segment-00000002.log is there`,
    });
    renameSync(join(dir, "away"), segmentPath(dir, 1));
    renameSync(segmentPath(dir, 0), join(dir, "away"));
    await expect(serials()).rejects.toMatchObject({
      message: expect.stringContaining(`${segmentPath(dir, 0)} is missing`),
    });
  });

  it("a segment that does not continue the one before it is refused", async () => {
    await written(60, 1000);
    copyFileSync(segmentPath(dir, 2), segmentPath(dir, 1));
    await expect(serials()).rejects.toMatchObject({
      code: "corrupt_journal",
      message: expect.stringContaining(`${segmentPath(dir, 1)} does not continue the journal before it`),
    });
  });

  it("a segment whose header is damaged is refused, the first one too", async () => {
    await written(3);
    const bytes = readFileSync(segmentPath(dir, 0));
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    writeFileSync(segmentPath(dir, 0), bytes);
    await expect(serials()).rejects.toMatchObject({
      code: "corrupt_journal",
      message: expect.stringContaining("has a damaged header"),
    });
  });

  it("damage in front of another segment is corruption, also behind the last statement of its own", async () => {
    await written(60, 1000);
    const bytes = readFileSync(segmentPath(dir, 0));
    writeFileSync(segmentPath(dir, 0), bytes.subarray(0, bytes.length - 1));
    await expect(serials()).rejects.toMatchObject({
      code: "corrupt_journal",
      message: expect.stringMatching(/is corrupt at byte \d+: .*, though another segment follows; restore/),
    });
  });

  it("a frame that a live writer completed while it was judged is read, not cut and not called corrupt", async () => {
    await written(3);
    const path = segmentPath(dir, 0);
    const whole = readFileSync(path);
    // Ends in the middle of the second claim, until the reader has met that end twice.
    const middle = whole.indexOf("user-1") + 2;
    const { disk } = new Beside(path, whole.subarray(0, middle), onNth(2, "end"));
    expect(await serials(dir, disk)).toEqual(upTo(3));
  });

  it("a frame that was half on the disk when it was read is read again once it is known to be synced", async () => {
    await written(3);
    const path = segmentPath(dir, 0);
    const whole = readFileSync(path);
    const holes = Buffer.from(whole);
    const at = whole.indexOf("user-1");
    holes.fill(0, at, at + 4);
    const { disk } = new Beside(path, holes, onNth(1, "end"));
    expect(await serials(dir, disk)).toEqual(upTo(3));
  });

  it("what a live writer added to a segment before it began the next one is read first", async () => {
    await written(60, 1000);
    const path = segmentPath(dir, 0);
    const whole = readFileSync(path);
    const middle = whole.indexOf("user-3") - 64;
    const boundary = await frameEndBefore(middle);
    const { disk } = new Beside(path, whole.subarray(0, boundary), onNth(2, "list"));
    expect(await serials(dir, disk)).toEqual(upTo(60));
  });
});

/** File position behind the last whole frame that ends at or before `position` in the first segment. */
async function frameEndBefore(position: number): Promise<number> {
  const reader = await openJournalReader(dir);
  let place = 0;
  for await (const _ of reader.entries()) {
    const now = reader.place;
    if (now.segment > 0 || now.position > position) break;
    place = now.position;
  }
  await reader.close();
  return place;
}
