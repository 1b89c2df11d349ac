import { randomBytes } from "node:crypto";
import { cpSync, mkdtempSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Frame } from "../../../core/format/frame.ts";
import { Journal } from "../../../core/store/journal.ts";
import { openJournalReader, segmentCount, segmentPath } from "../../../core/store/journal-reader.ts";
import { NOTHING } from "../../../scripts/torture/simulated-disk/platter.ts";
import { SimulatedDisk } from "../../../scripts/torture/simulated-disk/simulated-disk.ts";

const newIdentity = () => ({ campaignTag: 7, epoch: 1, shard: 3, journalId: randomBytes(16) });
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "journal-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function claim(serial: number): Frame {
  const token = Buffer.alloc(45, serial);
  return {
    type: "claim",
    serial,
    token,
    user: `user-${serial}`,
    device: "phone",
    atMs: 1_800_000_000_000 + serial,
  };
}

const noFailure = {
  onFailure: (error: Error) => {
    throw error;
  },
};

async function open(path = dir, segmentBytes?: number): Promise<{ journal: Journal; frames: Frame[] }> {
  const frames: Frame[] = [];
  const options = segmentBytes === undefined ? noFailure : { ...noFailure, segmentBytes };
  const journal = await Journal.recover(path, ({ frame }) => frames.push(frame), options);
  return { journal, frames };
}

async function serials(path = dir): Promise<number[]> {
  const found: number[] = [];
  const reader = await openJournalReader(path);
  try {
    for await (const { frame } of reader.entries()) if (frame.type === "claim") found.push(frame.serial);
  } finally {
    await reader.close();
  }
  return found;
}

/** Serials of the claims that a recovery on this disk finds. */
async function claimsOn(disk: SimulatedDisk): Promise<number[]> {
  const found: number[] = [];
  await Journal.recover(
    "/node",
    ({ frame }) => {
      if (frame.type === "claim") found.push(frame.serial);
    },
    { ...noFailure, disk },
  );
  return found;
}

describe("journal", () => {
  it("gives back every frame that was durable, in order, after it was left without closing", async () => {
    await Journal.create(dir, newIdentity());
    const { journal } = await open();
    for (let i = 0; i < 500; i++) journal.append(claim(i));
    await journal.durable(journal.appendedOffset);
    const { frames } = await open();
    expect(frames.filter((f) => f.type === "claim").map((f) => f.type === "claim" && f.serial)).toEqual(
      Array.from({ length: 500 }, (_, i) => i),
    );
    await journal.close();
  });

  it("encodes and decodes every kind of frame to the same value", async () => {
    const name = fc.string({ maxLength: 40, unit: "grapheme" });
    const u32 = fc.nat({ max: 0xffff_ffff });
    const u16 = fc.nat({ max: 0xffff });
    const bytes = (n: number) => fc.uint8Array({ minLength: n, maxLength: n }).map((b) => Buffer.from(b));
    const atMs = fc.nat({ max: 2 ** 45 });
    const frame: fc.Arbitrary<Frame> = fc.oneof(
      fc.record({
        type: fc.constant("claim" as const),
        serial: u32,
        token: bytes(45),
        user: name,
        device: name,
        atMs,
      }),
      fc.record(
        {
          type: fc.constant("issue" as const),
          lane: u16,
          position: u32,
          serial: u32,
          atMs,
          user: name,
          device: name,
          request: fc.record({ key: bytes(16), body: bytes(16) }),
          won: fc.constant([{ epoch: 1, shard: 2, ad: 3, packets: 4 }]),
        },
        { requiredKeys: ["type", "lane", "position", "serial", "atMs", "user", "device", "won"] },
      ) as fc.Arbitrary<Frame>,
      fc.record({ type: fc.constant("lease" as const), lane: u16, upTo: u32 }),
      fc.record({ type: fc.constant("burn" as const), lane: u16, from: u32, to: u32 }),
      fc.record({ type: fc.constant("return" as const), cursors: fc.array(u32, { maxLength: 20 }) }),
      fc.record({ type: fc.constant("acknowledged" as const), ledgerId: bytes(16), upTo: fc.nat() }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 30 }), async (frames) => {
        const path = mkdtempSync(join(tmpdir(), "journal-"));
        await Journal.create(path, newIdentity());
        const { journal } = await open(path, 400);
        for (const one of frames) journal.append(one);
        await journal.close();
        const again = await open(path);
        expect(again.frames.filter((f) => f.type !== "durable")).toEqual(frames);
        await again.journal.close();
        rmSync(path, { recursive: true });
      }),
      { numRuns: 40 },
    );
  });

  it("rolls segments without losing the chain, and goes on in the last one", async () => {
    await Journal.create(dir, newIdentity());
    const { journal } = await open(dir, 2000);
    for (let i = 0; i < 200; i++) {
      journal.append(claim(i));
      if (i % 7 === 0) await journal.durable(journal.appendedOffset);
    }
    await journal.close();
    expect(await segmentCount(dir)).toBeGreaterThan(3);
    const second = await open(dir, 2000);
    second.journal.append(claim(200));
    await second.journal.close();
    expect(await serials()).toEqual(Array.from({ length: 201 }, (_, i) => i));
  });

  it("a tail torn at any byte behind the last sync is cut, and everything synced stays", async () => {
    await Journal.create(dir, newIdentity());
    const { journal } = await open();
    for (let i = 0; i < 3; i++) journal.append(claim(i));
    await journal.durable(journal.appendedOffset);
    const synced = statSync(segmentPath(dir, 0)).size;
    for (let i = 3; i < 6; i++) journal.append(claim(i));
    await journal.written(journal.appendedOffset);
    const whole = statSync(segmentPath(dir, 0)).size;
    for (let size = synced; size < whole; size++) {
      const copy = mkdtempSync(join(tmpdir(), "journal-"));
      cpSync(dir, copy, { recursive: true });
      truncateSync(segmentPath(copy, 0), size);
      const again = await open(copy);
      again.journal.append(claim(99));
      await again.journal.close();
      const found = await serials(copy);
      expect(found.slice(0, 3)).toEqual([0, 1, 2]);
      expect(found.at(-1)).toBe(99);
      rmSync(copy, { recursive: true });
    }
    await journal.close();
  });

  it("a second journal is never created over the first", async () => {
    await Journal.create(dir, newIdentity());
    await expect(Journal.create(dir, newIdentity())).rejects.toMatchObject({ code: "already_exists" });
  });

  it("claims read back after a failed sync are lost with the power, though a recovery synced them", async () => {
    const disk = new SimulatedDisk();
    await Journal.create("/node", newIdentity(), disk);
    const failing = disk.process({
      fault: ({ kind }) => (kind === "datasync" ? { code: "EIO", done: "nothing" } : undefined),
    });
    const options = { onFailure: () => {}, disk: failing };
    const journal = await Journal.recover("/node", () => {}, options);
    await expect(journal.durable(journal.append(claim(1)))).rejects.toMatchObject({ code: "journal_failed" });
    failing.kill();
    expect(await claimsOn(disk)).toEqual([1]);
    for (const fate of disk.everyPowerLoss()) expect(await claimsOn(disk.afterPowerLoss(fate))).toEqual([1]);
  });

  it("a sync that fails while the journal rolls leaves a hole in front of another segment", async () => {
    const late: (() => void)[] = [];
    const disk = new SimulatedDisk();
    await Journal.create("/node", newIdentity(), disk);
    const failing = disk.process({
      schedule: (operation, complete) =>
        operation.startsWith("datasync") ? late.push(complete) : queueMicrotask(complete),
      fault: ({ kind }) => (kind === "datasync" ? { code: "EIO", done: "nothing" } : undefined),
    });
    const options = { onFailure: () => {}, disk: failing, segmentBytes: 100 };
    const journal = await Journal.recover("/node", () => {}, options);
    const first = journal.durable(journal.append(claim(1)));
    const second = journal.written(journal.append(claim(2)));
    while (late.length === 0) await new Promise((resolve) => setImmediate(resolve));
    // Behind a full segment: it can only be written into the next one, once the sync has ended.
    const third = journal.written(journal.append(claim(3)));
    await second;
    await new Promise((resolve) => setImmediate(resolve));
    for (const complete of late) complete();
    await expect(first).rejects.toMatchObject({ code: "journal_failed" });
    await expect(third).rejects.toMatchObject({ code: "journal_failed" });
    expect(failing.syncedAgain).toEqual([]);
    expect(await disk.list("/node")).toEqual(["segment-00000000.log"]);
  });

  it("a segment that cannot be read is not named", async () => {
    const disk = new SimulatedDisk();
    await Journal.create("/node", newIdentity(), disk);
    let reads = 0;
    const failing = disk.process({
      fault: ({ kind }) => (kind === "read" && reads++ > 0 ? { code: "EIO", done: "nothing" } : undefined),
    });
    await expect(claimsOn(failing)).rejects.toMatchObject({
      code: "unreadable_file",
      message: expect.stringContaining("/node/segment-00000000.log"),
    });
  });

  it("a failed write ends the journal and fails everyone who waits", async () => {
    await Journal.create(dir, newIdentity());
    const failures: string[] = [];
    const journal = await Journal.recover(dir, () => {}, { onFailure: (error) => failures.push(error.code) });
    // A closed descriptor fails as a dead disk does: at the next write, for good.
    await (journal as unknown as { handle: { close(): Promise<void> } }).handle.close();
    const offset = journal.append(claim(1));
    await expect(journal.durable(offset)).rejects.toMatchObject({ code: "journal_failed" });
    expect(failures).toEqual(["journal_failed"]);
    expect(() => journal.append(claim(2))).toThrow(/the node stops/);
  });
});

describe("a journal whose sync failed", () => {
  it("what a restart found in the page cache survives a power loss, though the kernel takes it for written", async () => {
    let syncs = 0;
    const fault = (attempt: { kind: string }) =>
      attempt.kind === "datasync" && syncs++ === 1 ? ({ code: "EIO", done: "nothing" } as const) : undefined;
    const disk = SimulatedDisk.holding([["/node/lock", Buffer.alloc(0)]]);
    await Journal.create("/node", newIdentity(), disk);
    const failing = await Journal.recover("/node", () => {}, {
      onFailure: () => {},
      disk: disk.process({ fault }),
    });
    await failing.durable(failing.append(claim(1)));
    await expect(failing.durable(failing.append(claim(2)))).rejects.toMatchObject({ code: "journal_failed" });

    const recovered = async (from: SimulatedDisk) => {
      const found: number[] = [];
      const journal = await Journal.recover(
        "/node",
        ({ frame }) => frame.type === "claim" && found.push(frame.serial),
        { ...noFailure, disk: from },
      );
      return { journal, found };
    };
    const { journal, found } = await recovered(disk.process({}));
    expect(found).toEqual([1, 2]);
    await journal.durable(journal.append(claim(3)));
    expect((await recovered(disk.afterPowerLoss(() => NOTHING))).found).toEqual([1, 2, 3]);
  });
});
