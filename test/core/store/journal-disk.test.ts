/** What a journal asks of the disk, in which order, and what it does when the disk fails it. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HongbaoError } from "../../../core/format/error.ts";
import { decodeSegmentHeader, type Frame } from "../../../core/format/frame.ts";
import { Journal } from "../../../core/store/journal.ts";
import { openJournalReader, segmentCount, segmentPath } from "../../../core/store/journal-reader.ts";
import { WatchedDisk } from "../../fakes/watched-disk.ts";

const SEGMENT = "segment-00000000.log";
const NEXT_SEGMENT = "segment-00000001.log";
const HEADER_BYTES = 52;
const STATEMENT_BYTES = 9 + 44;
const LEASE_BYTES = 9 + 6;
const lease = (upTo: number): Frame => ({ type: "lease", lane: 0, upTo });

let dir: string;
let watched: WatchedDisk;
let failures: HongbaoError[];
/** What the last recovery wrote. */
let rewrites: string[];
const open: Journal[] = [];
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "journal-"));
  watched = new WatchedDisk();
  failures = [];
  await Journal.create(dir, { campaignTag: 7, epoch: 1, shard: 3, journalId: randomBytes(16) });
});
afterEach(async () => {
  watched.before = () => {};
  for (const journal of open.splice(0)) await journal.close().catch(() => {});
  rmSync(dir, { recursive: true, force: true });
});

async function recover(segmentBytes?: number): Promise<Journal> {
  const onFailure = (error: HongbaoError) => failures.push(error);
  watched.events.length = 0;
  const journal = await Journal.recover(dir, () => {}, { onFailure, segmentBytes, disk: watched.disk });
  open.push(journal);
  rewrites = watched.events.filter((event) => event.startsWith("write"));
  watched.events.length = 0;
  return journal;
}

async function frames(): Promise<Frame[]> {
  const found: Frame[] = [];
  const reader = await openJournalReader(dir);
  for await (const { frame } of reader.entries()) found.push(frame);
  await reader.close();
  return found;
}

/** Holds up every event that begins so, until the test lets them through, or lets them fail. */
function gate(prefix: string): { count: number; open(failure?: Error): void } {
  const held: ((failure: Error | undefined) => void)[] = [];
  const state = {
    count: 0,
    open: (failure?: Error) => {
      watched.before = () => {};
      for (const release of held) release(failure);
    },
  };
  watched.before = (event) => {
    if (!event.startsWith(prefix)) return;
    state.count++;
    return new Promise((resolve, reject) => {
      held.push((failure) => (failure === undefined ? resolve() : reject(failure)));
    });
  };
  return state;
}

const refuse = (prefix: string, why: unknown) => (event: string) => {
  if (event.startsWith(prefix)) throw why;
};
const turns = async () => {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe("what a journal asks of the disk", () => {
  it("all frames of a turn go out in one write, and those that come meanwhile in the next", async () => {
    const journal = await recover();
    const writing = gate("write");
    for (let i = 1; i <= 5; i++) journal.append(lease(i));
    await turns();
    for (let i = 6; i <= 8; i++) journal.append(lease(i));
    writing.open();
    await journal.written(journal.appendedOffset);
    expect(watched.of(SEGMENT)).toEqual([
      `write ${STATEMENT_BYTES + 5 * LEASE_BYTES}`,
      `write ${3 * LEASE_BYTES}`,
    ]);
    expect(statSync(segmentPath(dir, 0)).size).toBe(HEADER_BYTES + STATEMENT_BYTES + 8 * LEASE_BYTES);
  });

  it("what nobody wants durable is not synced", async () => {
    const journal = await recover();
    await journal.written(journal.append(lease(1)));
    await turns();
    expect(watched.events.filter((event) => event.includes("sync"))).toEqual([]);
    expect(journal.durableOffset).toBe(0);
  });

  it("all who wait for the disk share one sync, and those who come while it runs the next", async () => {
    const journal = await recover();
    const syncing = gate("datasync");
    const first = [1, 2, 3].map((upTo) => journal.durable(journal.append(lease(upTo))));
    await journal.written(journal.appendedOffset);
    const before = journal.appendedOffset;
    const later = [4, 5, 6].map((upTo) => journal.durable(journal.append(lease(upTo))));
    await journal.written(journal.appendedOffset);
    await turns();
    expect([syncing.count, journal.durableOffset]).toEqual([1, 0]);
    syncing.open();
    await Promise.all(first);
    expect(journal.durableOffset).toBeGreaterThanOrEqual(before);
    await Promise.all(later);
    expect(journal.durableOffset).toBe(journal.appendedOffset);
    expect(watched.of(SEGMENT).filter((event) => event === "datasync")).toHaveLength(2);
  });

  it("who asks again for less takes nothing from those who want more", async () => {
    const journal = await recover();
    const first = journal.append(lease(1));
    const syncing = gate("datasync");
    const waits = [journal.durable(first)];
    await journal.written(first);
    const second = journal.append(lease(2));
    waits.push(journal.durable(second), journal.durable(first));
    await journal.written(second);
    syncing.open();
    await Promise.all(waits);
    expect(journal.durableOffset).toBe(second);
  });

  it("reads what it wrote from the same disk", async () => {
    const journal = await recover();
    await journal.written(journal.append(lease(1)));
    const reader = await journal.reader();
    const types: string[] = [];
    for await (const { frame } of reader.entries()) types.push(frame.type);
    expect([types, watched.openFiles]).toEqual([["durable", "lease"], 2]);
    await reader.close();
    expect(watched.openFiles).toBe(1);
  });

  it("nothing is durable before its sync is over, and nothing that was written behind it", async () => {
    const journal = await recover();
    const syncing = gate("datasync");
    const offset = journal.append(lease(1));
    let isDurable = false;
    const waiting = journal.durable(offset).then(() => {
      isDurable = true;
    });
    await journal.written(offset);
    const behind = journal.append(lease(2));
    await journal.written(behind);
    await turns();
    expect(isDurable).toBe(false);
    syncing.open();
    await waiting;
    await turns();
    expect(journal.durableOffset).toBe(offset);
  });

  it("what is on the disk already is asked for without another sync", async () => {
    const journal = await recover();
    const offset = journal.append(lease(1));
    await journal.durable(offset);
    watched.events.length = 0;
    await journal.durable(offset);
    await journal.durable(0);
    await turns();
    expect(watched.events).toEqual([]);
  });

  it("whoever waits to pass an offset asks for no sync, and is let through by another's", async () => {
    const journal = await recover();
    const offset = journal.append(lease(1));
    let passed = false;
    const waiting = journal.durablePast(offset - 1).then(() => {
      passed = true;
    });
    let behind = false;
    const beyond = journal.durablePast(offset).then(() => {
      behind = true;
    });
    await journal.written(offset);
    await turns();
    expect(passed).toBe(false);
    await journal.durable(offset);
    await waiting;
    expect([passed, behind]).toEqual([true, false]);
    await journal.durable(journal.append(lease(2)));
    await beyond;
  });

  it("states once a group what was durable before it, true to the byte", async () => {
    const journal = await recover();
    for (const group of [1, 2]) {
      for (let i = 0; i < 3; i++) journal.append(lease(group));
      await journal.durable(journal.appendedOffset);
    }
    await journal.close();
    const group = STATEMENT_BYTES + 3 * LEASE_BYTES;
    expect(await frames()).toEqual([
      { type: "durable", offset: 0, upTo: 0 },
      lease(1),
      lease(1),
      lease(1),
      { type: "durable", offset: group, upTo: group },
      lease(2),
      lease(2),
      lease(2),
      // The last word of a journal that was closed: all of it is on the disk.
      { type: "durable", offset: 2 * group, upTo: 2 * group },
    ]);
    expect(watched.of(SEGMENT).at(-1)).toBe("close");
    expect(watched.openFiles).toBe(0);
  });

  it("closed while its last frames are still on their way it waits for them", async () => {
    const journal = await recover();
    journal.append(lease(1));
    await journal.close();
    expect((await frames()).map(({ type }) => type)).toEqual(["durable", "lease", "durable"]);
    expect(watched.of(SEGMENT).slice(-2)).toEqual(["datasync", "close"]);
  });
});

describe("recovery", () => {
  it("cuts the tail at the last whole frame and syncs before anybody is answered; only that file stays open", async () => {
    const journal = await recover();
    await journal.durable(journal.append(lease(1)));
    await journal.close();
    const whole = statSync(segmentPath(dir, 0)).size;
    writeFileSync(
      segmentPath(dir, 0),
      Buffer.concat([readFileSync(segmentPath(dir, 0)), Buffer.alloc(5, 1)]),
    );
    watched = new WatchedDisk();
    const replayed: Frame[] = [];
    const again = await Journal.recover(dir, ({ frame }) => replayed.push(frame), {
      onFailure: (error) => failures.push(error),
      disk: watched.disk,
    });
    open.push(again);
    // The closing statement is written again: nothing says that it is on the disk.
    expect(watched.of(SEGMENT).slice(-4)).toEqual(["open r+", `truncate ${whole}`, "write 53", "sync"]);
    expect(watched.openFiles).toBe(1);
    expect(replayed.map(({ type }) => type)).toEqual(["durable", "lease", "durable"]);
    expect([again.durableOffset, again.appendedOffset]).toEqual([whole - HEADER_BYTES, whole - HEADER_BYTES]);
    // It begins with a statement about all that it recovered.
    again.append(lease(2));
    await again.close();
    expect((await frames()).at(3)).toEqual({
      type: "durable",
      offset: whole - HEADER_BYTES,
      upTo: whole - HEADER_BYTES,
    });
  });

  it("writes again, to the same bytes, what no statement vouches for, however much it is", async () => {
    const journal = await recover();
    await journal.durable(journal.append(lease(1)));
    const vouched = journal.durableOffset;
    const large: Frame = { type: "return", cursors: Array.from({ length: 16_000 }, (_, i) => i) };
    for (let i = 0; i < 20; i++) journal.append(large);
    await journal.written(journal.appendedOffset);
    const bytes = readFileSync(segmentPath(dir, 0));
    const left = journal.appendedOffset - vouched;
    await recover();
    expect(rewrites).toEqual([`write ${SEGMENT} ${2 ** 20}`, `write ${SEGMENT} ${left - 2 ** 20}`]);
    expect(readFileSync(segmentPath(dir, 0)).equals(bytes)).toBe(true);
  });

  it("writes nothing of the segments before the last again: they were synced when they were left", async () => {
    const journal = await recover(HEADER_BYTES + STATEMENT_BYTES + LEASE_BYTES);
    await journal.written(journal.append(lease(1)));
    await journal.written(journal.append(lease(2)));
    await recover();
    expect(rewrites).toEqual([`write ${NEXT_SEGMENT} ${LEASE_BYTES}`]);
  });

  it("on a disk that does not take all of it again is refused, and leaves no file open", async () => {
    const journal = await recover();
    await journal.written(journal.append(lease(1)));
    for (const taken of [0, 20]) {
      watched.nextWriteBytes = taken;
      await expect(recover()).rejects.toMatchObject({
        code: "journal_failed",
        message: `${segmentPath(dir, 0)} could not be recovered (it could not be written at byte ${HEADER_BYTES}): free or repair the disk, then start the node again`,
      });
    }
    expect(watched.openFiles).toBe(1);
    expect((await frames()).map(({ type }) => type)).toEqual(["durable", "lease"]);
  });

  it("closes what it read when a frame cannot be replayed", async () => {
    const journal = await recover();
    journal.append(lease(1));
    await journal.close();
    const replay = () => {
      throw new Error("a lane that the shard does not have");
    };
    const recovering = Journal.recover(dir, replay, { onFailure: () => {}, disk: watched.disk });
    await expect(recovering).rejects.toThrow("a lane that the shard does not have");
    expect(watched.openFiles).toBe(0);
  });

  it("in which a segment appears that was not read stops: somebody else is writing", async () => {
    let lists = 0;
    const list = watched.disk.list;
    const disk = {
      ...watched.disk,
      list: async (path: string) => [...(await list(path)), ...(++lists > 2 ? [NEXT_SEGMENT] : [])],
    };
    await expect(Journal.recover(dir, () => {}, { onFailure: () => {}, disk })).rejects.toThrow(
      "broken invariant: reading ends in the last segment",
    );
  });
});

describe("a new segment", () => {
  it("is begun exactly when the old one is full, behind a sync of the old one, which is then closed", async () => {
    const first = STATEMENT_BYTES + LEASE_BYTES;
    const journal = await recover(HEADER_BYTES + first);
    await journal.written(journal.append(lease(1)));
    expect(await segmentCount(dir)).toBe(1);
    await journal.written(journal.append(lease(2)));
    expect(await segmentCount(dir)).toBe(2);
    expect(watched.events.filter((event) => /^(write|sync|link|close) segment/.test(event))).toEqual([
      `write ${SEGMENT} ${first}`,
      `sync ${SEGMENT}`,
      `link ${NEXT_SEGMENT}`,
      `close ${SEGMENT}`,
      `write ${NEXT_SEGMENT} ${LEASE_BYTES}`,
    ]);
    // All of the old one is on the disk by then, and a statement is due.
    expect(journal.durableOffset).toBe(first);
    await journal.written(journal.append(lease(3)));
    await journal.close();
    expect(watched.openFiles).toBe(0);
    const header = decodeSegmentHeader(readFileSync(segmentPath(dir, 1)));
    expect(header).toMatchObject({ ...journal.identity, segment: 1, offset: first });
    const found = await frames();
    expect(found.slice(0, 5)).toEqual([
      { type: "durable", offset: 0, upTo: 0 },
      lease(1),
      lease(2),
      { type: "durable", offset: first + LEASE_BYTES, upTo: first },
      lease(3),
    ]);
  });

  it("one byte of room is room: the old one goes on", async () => {
    const journal = await recover(HEADER_BYTES + STATEMENT_BYTES + LEASE_BYTES + 1);
    await journal.written(journal.append(lease(1)));
    await journal.written(journal.append(lease(2)));
    expect(await segmentCount(dir)).toBe(1);
  });

  it("is begun only behind 64 MiB, unless somebody says otherwise", async () => {
    const journal = await recover();
    for (let i = 0; i < 100; i++) await journal.written(journal.append(lease(i)));
    await journal.close();
    expect(await segmentCount(dir)).toBe(1);
  });

  it("waits for the sync that runs in the old one", async () => {
    const journal = await recover(HEADER_BYTES + STATEMENT_BYTES + LEASE_BYTES);
    const syncing = gate("datasync");
    const offset = journal.append(lease(1));
    const waiting = journal.durable(offset);
    await journal.written(offset);
    const next = journal.append(lease(2));
    await turns();
    expect(watched.of(SEGMENT)).toEqual([`write ${STATEMENT_BYTES + LEASE_BYTES}`, "datasync"]);
    syncing.open();
    await waiting;
    await journal.durable(next);
    expect(watched.of(SEGMENT).slice(-2)).toEqual(["sync", "close"]);
    expect(watched.of(NEXT_SEGMENT).slice(-2)).toEqual([`write ${LEASE_BYTES}`, "datasync"]);
  });
});

describe("a disk that fails", () => {
  const noSpace = Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  const sentence = (verb: string, why: string) =>
    `the journal in ${dir} could not be ${verb} (${why}): the node stops; free or repair the disk, then start it again`;

  it("at a write ends the journal: nothing is tried again, and everybody who waits or comes is told", async () => {
    const journal = await recover();
    await journal.durable(journal.append(lease(1)));
    watched.before = refuse("write", noSpace);
    const offset = journal.append(lease(2));
    const waits = [journal.written(offset), journal.durable(offset), journal.durablePast(offset)];
    for (const wait of await Promise.allSettled(waits))
      expect(wait).toMatchObject({ reason: { code: "journal_failed", cause: noSpace } });
    expect(failures).toEqual([expect.objectContaining({ message: sentence("written", noSpace.message) })]);
    watched.before = () => {};
    watched.events.length = 0;
    expect(() => journal.append(lease(3))).toThrow(failures[0]);
    await expect(journal.durable(offset + 1)).rejects.toBe(failures[0]);
    await turns();
    expect(watched.events).toEqual([]);
  });

  it("at a write it took only some of: the frame counts as not written", async () => {
    const journal = await recover();
    watched.nextWriteBytes = 20;
    const offset = journal.append(lease(1));
    await expect(journal.durable(offset)).rejects.toMatchObject({ code: "journal_failed" });
    const why = `20 of ${STATEMENT_BYTES + LEASE_BYTES} bytes were written`;
    expect(failures.map(({ message }) => message)).toEqual([sentence("written", why)]);
    expect(await frames()).toEqual([]);
  });

  it("at a sync ends the journal: after it nobody knows what the disk holds, so none is tried again", async () => {
    const journal = await recover();
    watched.before = refuse("datasync", new Error("EIO"));
    const offset = journal.append(lease(1));
    await expect(journal.durable(offset)).rejects.toMatchObject({ code: "journal_failed" });
    expect(failures.map(({ message }) => message)).toEqual([sentence("synced", "EIO")]);
    expect(journal.durableOffset).toBe(0);
    watched.before = () => {};
    watched.events.length = 0;
    await expect(journal.durable(offset)).rejects.toBe(failures[0]);
    expect(() => journal.append(lease(2))).toThrow(failures[0]);
    await turns();
    expect(watched.events).toEqual([]);
    expect(journal.durableOffset).toBe(0);
  });

  it("twice is one failure", async () => {
    const journal = await recover();
    const syncing = gate("datasync");
    const offset = journal.append(lease(1));
    const waiting = journal.durable(offset);
    await journal.written(offset);
    const later = journal.append(lease(2));
    const written = journal.written(later);
    watched.before = (event) => {
      throw new Error(`no ${event.split(" ")[0]}`);
    };
    await expect(written).rejects.toMatchObject({ code: "journal_failed" });
    // The sync that was running when the write failed fails as well.
    syncing.open(new Error("no datasync"));
    await expect(waiting).rejects.toBe(failures[0]);
    expect(failures.map(({ message }) => message)).toEqual([sentence("written", "no write")]);
  });

  it("when a new segment is begun ends the journal as well", async () => {
    const journal = await recover(HEADER_BYTES + STATEMENT_BYTES + LEASE_BYTES);
    await journal.written(journal.append(lease(1)));
    watched.before = refuse("link", noSpace);
    await expect(journal.written(journal.append(lease(2)))).rejects.toMatchObject({ code: "journal_failed" });
    expect(failures.map(({ message }) => message)).toEqual([sentence("written", noSpace.message)]);
  });
});
