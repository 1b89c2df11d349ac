import { randomBytes } from "node:crypto";
import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { machineClock } from "../../../apps/access-node/clock.ts";
import { Forwarder } from "../../../apps/access-node/forwarder.ts";
import { Unvouched } from "../../../apps/access-node/unvouched.ts";
import {
  type Acknowledgement,
  batchHash,
  type ClaimBatch,
  decodeBatch,
  encodeAck,
} from "../../../core/format/claim-batch.ts";
import type { Frame } from "../../../core/format/frame.ts";
import { machineDisk } from "../../../core/store/disk.ts";
import { Journal } from "../../../core/store/journal.ts";
import { openJournalReader } from "../../../core/store/journal-reader.ts";

/**
 * The queue is in the test's hand: it sees every batch that is sent and decides what is acknowledged, when, and by
 * which ledger. Journal, reader and codecs are the real ones.
 */
const wireKey = Buffer.alloc(32, 3);
const LEDGER = Buffer.alloc(16, 1);
const OTHER_LEDGER = Buffer.alloc(16, 2);
const PATIENCE = { timeout: 10_000, interval: 5 };

let dir: string;
let journal: Journal;
let forwarder: Forwarder;
let sent: { bytes: Buffer; batch: ClaimBatch }[];
/** What was sent and is no batch of this node's: never anything. */
let strange: Uint8Array[];
/** Ranges without a claim that the ledger was told to have. */
let told: { from: number; to: number }[];
let claimedUpTo: number;
let refuse: boolean;
/** Ledgers that take turns at answering the node's questions. */
let present: Buffer[];
let questions: number;
/** What the ledger says of this journal. */
let word: { standing: Acknowledgement["standing"]; settledUpTo: number | undefined };
let failures: unknown[];
let alarms: string[];
let isHeard: boolean;
/** Called with every batch before it is taken. */
let onSend: (batch: ClaimBatch, bytes: Uint8Array) => void;
let nowMs: number;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "forwarder-"));
  await Journal.create(dir, { campaignTag: 1, epoch: 1, shard: 0, journalId: randomBytes(16) });
  present = [LEDGER];
  word = { standing: "own-journal", settledUpTo: undefined };
  await start();
});
afterEach(async () => {
  expect(strange).toEqual([]);
  await forwarder.stop();
  await journal.close();
  rmSync(dir, { recursive: true });
});

async function start(unheard = false): Promise<void> {
  let acknowledged: { ledgerId: Buffer; upTo: number } | undefined;
  const options = {
    onFailure: (error: unknown) => {
      throw error;
    },
  };
  journal = await Journal.recover(
    dir,
    ({ frame, offset }) => {
      if (frame.type === "acknowledged")
        acknowledged = { ledgerId: Buffer.from(frame.ledgerId), upTo: frame.upTo };
      if (frame.type === "claim") claimedUpTo = offset + 1;
    },
    options,
  );
  await forward(acknowledged, unheard);
}

/** A forwarder over the journal as it is. @param unheard the queue is away */
async function forward(acknowledged?: { ledgerId: Buffer; upTo: number }, unheard = false): Promise<void> {
  sent = [];
  strange = [];
  told = [];
  claimedUpTo = 0;
  refuse = unheard;
  nowMs = 0;
  questions = 0;
  failures = [];
  alarms = [];
  onSend = () => {};
  forwarder = new Forwarder({
    journal,
    unvouched: await Unvouched.since(dir, journal.appendedOffset, machineDisk),
    wireKey,
    acknowledged,
    claimedUpTo: () => claimedUpTo,
    append: (frame) => journal.append(frame),
    clock: { ...machineClock, monotonicMs: () => nowMs },
    random: randomBytes,
    alarm: (message) => alarms.push(message),
    onFailure: (error) => failures.push(error),
  });
  isHeard = false;
  forwarder.heard.then(() => {
    isHeard = true;
  });
  forwarder.start({
    connected: true,
    depth: async () => null,
    close: async () => {},
    send: async (_, bytes) => {
      if (refuse) throw new Error("the queue is away");
      const batch = decodeBatch(wireKey, bytes);
      if (batch === undefined) {
        strange.push(bytes);
        return;
      }
      onSend(batch, bytes);
      if (batch.claims.length > 0) sent.push({ bytes: Buffer.from(bytes), batch });
      else if (LEDGER.equals(batch.forLedger)) {
        told.push({ from: batch.from, to: batch.to });
        answer(batch, bytes, LEDGER);
      } else answer(batch, bytes, present[questions++ % present.length] ?? LEDGER);
    },
  });
}

/** As after a kill. @param unheard the queue is away */
async function startAgain(unheard = false): Promise<void> {
  await forwarder.stop();
  await journal.close();
  await start(unheard);
}

async function claim(from: number, count: number): Promise<void> {
  for (let serial = from; serial < from + count; serial++) {
    const frame: Frame = {
      type: "claim",
      serial,
      token: Buffer.alloc(45, serial),
      user: `u${serial}`,
      device: "d",
      atMs: 1,
    };
    claimedUpTo = journal.append(frame);
  }
  await journal.durable(journal.appendedOffset);
}

function batches() {
  return sent;
}

function lastIsFor(ledgerId: Buffer): boolean {
  return ledgerId.equals(batches().at(-1)?.batch.forLedger ?? Buffer.alloc(0));
}

/** A worker's answer, a moment later. */
function answer(
  { claims: _, forLedger: __, ...range }: ClaimBatch,
  bytes: Uint8Array,
  ledgerId: Buffer,
): void {
  // Without a word of its own the ledger holds what it acknowledged: the position that the question is asked at.
  const settledUpTo = word.settledUpTo ?? range.from;
  const ack = encodeAck(wireKey, { ...range, ...word, settledUpTo, ledgerId, batchHash: batchHash(bytes) });
  setImmediate(() => forwarder.acknowledge(ack));
}

function users(): string[] {
  return batches().flatMap(({ batch }) => batch.claims.map(({ user }) => user));
}

function acknowledge(index: number, ledgerId = LEDGER): void {
  const one = batches()[index];
  if (one === undefined) throw new Error(`no batch ${index}`);
  const { claims: _, forLedger: __, ...range } = one.batch;
  forwarder.acknowledge(
    encodeAck(wireKey, {
      ...range,
      ledgerId,
      batchHash: batchHash(one.bytes),
      standing: "own-journal",
      settledUpTo: 0,
    }),
  );
}

async function acknowledgedUpTo(): Promise<number> {
  await journal.durable(journal.appendedOffset);
  const reader = await openJournalReader(dir);
  let upTo = 0;
  for await (const { frame } of reader.entries()) if (frame.type === "acknowledged") upTo = frame.upTo;
  await reader.close();
  return upTo;
}

describe("forwarder (invariant 7)", () => {
  it("sends every durable claim once, in order, in bounded batches", async () => {
    await claim(0, 1234);
    await vi.waitFor(() => expect(users()).toHaveLength(1234), PATIENCE);
    expect(users()).toEqual(Array.from({ length: 1234 }, (_, i) => `u${i}`));
    expect(Math.max(...sent.map(({ batch }) => batch.claims.length))).toBeLessThanOrEqual(500);
  });

  it("moves over the contiguous prefix only, whatever order the answers come in", async () => {
    await claim(0, 1500);
    await vi.waitFor(() => expect(batches()).toHaveLength(3), PATIENCE);
    acknowledge(2);
    acknowledge(1);
    expect(await acknowledgedUpTo()).toBe(0);
    expect(forwarder.lagBytes).toBeGreaterThan(0);
    acknowledge(0);
    expect(await acknowledgedUpTo()).toBe(batches()[2]?.batch.to);
    expect(forwarder.lagBytes).toBe(0);
  });

  it("a batch that is stuck with a dead worker holds up nobody else's", async () => {
    await claim(0, 40);
    await vi.waitFor(() => expect(users()).toHaveLength(40), PATIENCE);
    for (let more = 1; more <= 20; more++) {
      const before = batches().length;
      await claim(40 * more, 40);
      await vi.waitFor(() => expect(users()).toHaveLength(40 * (more + 1)), PATIENCE);
      for (let i = before; i < batches().length; i++) acknowledge(i);
    }
    expect(await acknowledgedUpTo()).toBe(0);
    expect(forwarder.batchesInFlight).toBe(1);
  });

  it("answers that come out of order: no batch speaks for a range without its claims, which a restored ledger would believe", async () => {
    await claim(0, 1500);
    await vi.waitFor(() => expect(batches()).toHaveLength(3), PATIENCE);
    acknowledge(2);
    acknowledge(1);
    acknowledge(0);
    await vi.waitFor(() => expect(forwarder.batchesInFlight).toBe(0), PATIENCE);
    expect(await acknowledgedUpTo()).toBe(batches()[2]?.batch.to);
    await claim(1500, 1);
    await vi.waitFor(() => expect(users()).toContain("u1500"), PATIENCE);
    expect(told).toEqual([]);
  });

  it("that the queue accepted a batch moves nothing: without an answer it is sent again, the same bytes", async () => {
    await claim(0, 3);
    await vi.waitFor(() => expect(batches()).toHaveLength(1), PATIENCE);
    nowMs += 6_000;
    await vi.waitFor(() => expect(batches().length).toBeGreaterThan(1), PATIENCE);
    expect(batches()[1]?.bytes.equals(batches()[0]?.bytes ?? Buffer.alloc(0))).toBe(true);
    expect(await acknowledgedUpTo()).toBe(0);
  });

  it("goes on when the queue was away", async () => {
    refuse = true;
    await claim(0, 3);
    await new Promise((resolve) => setImmediate(resolve));
    refuse = false;
    nowMs += 2_000;
    await vi.waitFor(() => expect(users()).toEqual(["u0", "u1", "u2"]), PATIENCE);
  });

  it("ignores answers that are forged, for other bytes, or repeated", async () => {
    await claim(0, 3);
    await vi.waitFor(() => expect(batches()).toHaveLength(1), PATIENCE);
    const [one] = batches();
    if (one === undefined) throw new Error("one batch was sent");
    const { claims: _, forLedger: __, ...range } = one.batch;
    const ack = {
      ...range,
      ledgerId: LEDGER,
      batchHash: batchHash(one.bytes),
      standing: "own-journal" as const,
      settledUpTo: 0,
    };
    forwarder.acknowledge(encodeAck(Buffer.alloc(32, 9), ack));
    forwarder.acknowledge(encodeAck(wireKey, { ...ack, to: ack.to + 1 }));
    forwarder.acknowledge(encodeAck(wireKey, { ...ack, shard: 1 }));
    forwarder.acknowledge(encodeAck(wireKey, { ...ack, batchHash: Buffer.alloc(32) }));
    forwarder.acknowledge(Buffer.from("rubbish"));
    expect(await acknowledgedUpTo()).toBe(0);
    acknowledge(0);
    const upTo = await acknowledgedUpTo();
    expect(upTo).toBe(ack.to);
    acknowledge(0);
    expect(await acknowledgedUpTo()).toBe(upTo);
  });

  it("after a restart it sends what was not acknowledged, and asks which ledger is there", async () => {
    await claim(0, 500);
    await claim(500, 20);
    await vi.waitFor(() => expect(users()).toHaveLength(520), PATIENCE);
    acknowledge(0);
    const done = batches()[0]?.batch.claims.length ?? 0;
    await forwarder.stop();
    await journal.close();
    await start();
    await vi.waitFor(() => expect(users()).toHaveLength(520 - done), PATIENCE);
    expect(users()[0]).toBe(`u${done}`);
  });

  it("sends claims to nobody before it knows which ledger is there, and then to that one by name", async () => {
    await claim(0, 3);
    await vi.waitFor(() => expect(users()).toHaveLength(3), PATIENCE);
    expect(questions).toBe(8);
    expect(batches().every(({ batch }) => LEDGER.equals(Buffer.from(batch.forLedger)))).toBe(true);
  });

  it("a quiet node finds that the ledger was lost, sends everything to the new one, and knows it after a crash", async () => {
    await claim(0, 20);
    await vi.waitFor(() => expect(users()).toHaveLength(20), PATIENCE);
    for (let i = 0; i < batches().length; i++) acknowledge(i);
    present = [OTHER_LEDGER];
    nowMs += 61_000;
    await vi.waitFor(() => expect(users()).toHaveLength(40), PATIENCE);
    expect(lastIsFor(OTHER_LEDGER)).toBe(true);
    expect(alarms).toEqual([expect.stringContaining("was replaced by")]);
    expect(await acknowledgedUpTo()).toBe(0);
    await forwarder.stop();
    await journal.close();
    await start();
    await vi.waitFor(() => expect(users()).toHaveLength(20), PATIENCE);
  });

  it("another ledger that takes a batch acknowledges nothing; alone, it is believed to have replaced the first", async () => {
    await claim(0, 20);
    await vi.waitFor(() => expect(users()).toHaveLength(20), PATIENCE);
    present = [OTHER_LEDGER];
    acknowledge(0, OTHER_LEDGER);
    expect(await acknowledgedUpTo()).toBe(0);
    await vi.waitFor(() => expect(lastIsFor(OTHER_LEDGER)).toBe(true), PATIENCE);
  });

  it("two ledgers that both answer would both pay: it sends nothing more, and says so", async () => {
    await claim(0, 20);
    await vi.waitFor(() => expect(users()).toHaveLength(20), PATIENCE);
    present = [LEDGER, OTHER_LEDGER];
    acknowledge(0, OTHER_LEDGER);
    await vi.waitFor(() => expect(forwarder.isSplit).toBe(true), PATIENCE);
    expect(alarms).toEqual([expect.stringContaining("two ledgers answer")]);
    const before = sent.length;
    await claim(20, 5);
    nowMs += 120_000;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(sent.length).toBe(before);
    expect(batches().every(({ batch }) => LEDGER.equals(Buffer.from(batch.forLedger)))).toBe(true);
  });

  it("a ledger that is replaced between two answers of one round is no second one", async () => {
    await claim(0, 20);
    await vi.waitFor(() => expect(users()).toHaveLength(20), PATIENCE);
    acknowledge(0, LEDGER);
    questions = 0;
    present = [...Array(7).fill(LEDGER), ...Array(50).fill(OTHER_LEDGER)];
    nowMs += 61_000;
    await vi.waitFor(() => expect(lastIsFor(OTHER_LEDGER)).toBe(true), PATIENCE);
    expect([forwarder.isSplit, alarms]).toEqual([false, [expect.stringContaining("was replaced by")]]);
  });

  it("two ledgers that take turns in a quiet minute are two, whoever answers first", async () => {
    await claim(0, 20);
    await vi.waitFor(() => expect(users()).toHaveLength(20), PATIENCE);
    acknowledge(0, LEDGER);
    questions = 0;
    present = [LEDGER, LEDGER, OTHER_LEDGER];
    nowMs += 61_000;
    await vi.waitFor(() => expect(forwarder.isSplit).toBe(true), PATIENCE);
    expect(alarms).toEqual([expect.stringContaining("two ledgers answer")]);
  });

  it("a ledger that comes back after it was replaced is a second one, too", async () => {
    await claim(0, 20);
    await vi.waitFor(() => expect(users()).toHaveLength(20), PATIENCE);
    present = [OTHER_LEDGER];
    acknowledge(0, OTHER_LEDGER);
    await vi.waitFor(() => expect(lastIsFor(OTHER_LEDGER)).toBe(true), PATIENCE);
    present = [LEDGER];
    word = { standing: "own-journal", settledUpTo: undefined };
    acknowledge(batches().length - 1, LEDGER);
    await vi.waitFor(() => expect(forwarder.isSplit).toBe(true), PATIENCE);
  });

  it("a ledger that was restored from an older copy gets everything behind it again", async () => {
    await claim(0, 600);
    await vi.waitFor(() => expect(users()).toHaveLength(600), PATIENCE);
    for (let i = 0; i < batches().length; i++) acknowledge(i);
    const upTo = batches()[0]?.batch.to ?? 0;
    const behind = users().length - (batches()[0]?.batch.claims.length ?? 0);
    word.settledUpTo = upTo;
    nowMs += 61_000;
    await vi.waitFor(() => expect(users()).toHaveLength(600 + behind), PATIENCE);
    expect(alarms).toEqual([expect.stringContaining(`only up to offset ${upTo}`)]);
  });

  it("a ledger that knows more of this journal than it holds: an older copy of the journal stops the node", async () => {
    word.settledUpTo = 1_000_000;
    nowMs += 61_000;
    await vi.waitFor(() => expect(failures).toHaveLength(1), PATIENCE);
    expect(failures[0]).toMatchObject({
      code: "owned_elsewhere",
      message: expect.stringContaining("older copy"),
    });
  });

  it("an older copy that has written beyond what the ledger holds is found out all the same", async () => {
    await claim(0, 3);
    await startAgain();
    word.settledUpTo = journal.appendedOffset + 1;
    await claim(3, 20);
    expect(journal.appendedOffset).toBeGreaterThan(word.settledUpTo);
    await vi.waitFor(() => expect(failures).toHaveLength(1), PATIENCE);
    expect(failures[0]).toMatchObject({ code: "owned_elsewhere" });
    expect(isHeard).toBe(false);
  });

  it("an older copy that was killed before any ledger answered is found out by the next start", async () => {
    await vi.waitFor(() => expect(forwarder.isVouched).toBe(true), PATIENCE);
    await startAgain(true);
    const held = journal.appendedOffset + 1;
    await claim(0, 20);
    await startAgain();
    word.settledUpTo = held;
    await vi.waitFor(() => expect(failures).toHaveLength(1), PATIENCE);
    expect(failures[0]).toMatchObject({ code: "owned_elsewhere" });
    expect(forwarder.isVouched).toBe(false);
  });

  it("once a ledger has vouched, it may hold all that was sent to it, also after a crash", async () => {
    await vi.waitFor(() => expect(forwarder.isVouched && isHeard).toBe(true), PATIENCE);
    await claim(0, 20);
    await vi.waitFor(() => expect(users()).toHaveLength(20), PATIENCE);
    word.settledUpTo = batches().at(-1)?.batch.to;
    await startAgain();
    await vi.waitFor(() => expect(forwarder.isVouched && isHeard).toBe(true), PATIENCE);
    expect(failures).toEqual([]);
  });

  it("a ledger that knows another journal of the shard stops the node", async () => {
    word.standing = "other-journal";
    nowMs += 61_000;
    await vi.waitFor(() => expect(failures).toHaveLength(1), PATIENCE);
    expect(failures[0]).toMatchObject({
      code: "owned_elsewhere",
      message: expect.stringContaining("another node"),
    });
  });
});

describe("a forwarder at its limits", () => {
  it("runs at most sixteen batches ahead of what the ledger acknowledged", async () => {
    await claim(0, 17 * 500);
    await vi.waitFor(() => expect(batches()).toHaveLength(16), PATIENCE);
    // Not even when it sends all of them again.
    nowMs += 6_000;
    await vi.waitFor(() => expect(batches()).toHaveLength(32), PATIENCE);
    expect(new Set(users()).size).toBe(16 * 500);
    expect([forwarder.batchesInFlight, forwarder.batchesResent]).toEqual([16, 16]);
    acknowledge(0);
    await vi.waitFor(() => expect(batches()).toHaveLength(33), PATIENCE);
    expect(new Set(users()).size).toBe(17 * 500);
    expect(forwarder.batchesInFlight).toBe(16);
  });

  it("counts what it sends a second time", async () => {
    await claim(0, 3);
    await vi.waitFor(() => expect(batches()).toHaveLength(1), PATIENCE);
    expect(forwarder.batchesResent).toBe(0);
    nowMs += 6_000;
    await vi.waitFor(() => expect(forwarder.batchesResent).toBe(1), PATIENCE);
  });

  it("a batch that is answered while those in front are sent again is not sent again, and nothing empty in its place", async () => {
    await claim(0, 1000);
    await vi.waitFor(() => expect(batches()).toHaveLength(2), PATIENCE);
    onSend = ({ from }) => {
      if (from === batches()[0]?.batch.from) acknowledge(1);
    };
    nowMs += 6_000;
    await vi.waitFor(() => expect(batches()).toHaveLength(3), PATIENCE);
    await claim(1000, 1);
    await vi.waitFor(() => expect(users().at(-1)).toBe("u1000"), PATIENCE);
    expect([strange, batches().length, forwarder.batchesResent]).toEqual([[], 4, 1]);
  });

  it("an answer that comes while its question is still being sent is heard", async () => {
    await startAgain();
    onSend = ({ claims, forLedger: _, ...range }, bytes) => {
      if (claims.length > 0) return;
      const told = { ledgerId: LEDGER, standing: "own-journal", settledUpTo: range.from } as const;
      forwarder.acknowledge(encodeAck(wireKey, { ...range, ...told, batchHash: batchHash(bytes) }));
    };
    await claim(0, 3);
    await vi.waitFor(() => expect(users()).toEqual(["u0", "u1", "u2"]), PATIENCE);
  });

  it("a new node that hears two ledgers at its first question sends neither a claim", async () => {
    await startAgain();
    present = [LEDGER, OTHER_LEDGER];
    await claim(0, 3);
    await vi.waitFor(() => expect(forwarder.isSplit).toBe(true), PATIENCE);
    expect(alarms).toEqual([
      expect.stringContaining(`(${LEDGER.toString("hex")} and ${OTHER_LEDGER.toString("hex")})`),
    ]);
    await forwarder.stop();
    expect(users()).toEqual([]);
    expect(forwarder.lagBytes).toBeGreaterThan(0);
  });

  it("stops while it waits for an answer that never comes", async () => {
    await startAgain();
    refuse = true;
    await claim(0, 3);
    await forwarder.stop();
    expect([users(), forwarder.isSplit, failures]).toEqual([[], false, []]);
  });

  it("told to stop while it sends, it sends nothing more", async () => {
    await vi.waitFor(() => expect(questions).toBe(8), PATIENCE);
    refuse = true;
    await claim(0, 1500);
    await vi.waitFor(() => expect(forwarder.batchesInFlight).toBe(3), PATIENCE);
    onSend = () => void forwarder.stop();
    refuse = false;
    nowMs += 2_000;
    await vi.waitFor(() => expect(batches()).toHaveLength(1), PATIENCE);
    await forwarder.stop();
    expect(batches()).toHaveLength(1);
  });

  it("an answer that comes after it stopped is not written: the journal may be closed", async () => {
    await claim(0, 3);
    await vi.waitFor(() => expect(batches()).toHaveLength(1), PATIENCE);
    await forwarder.stop();
    const end = journal.appendedOffset;
    acknowledge(0);
    expect(journal.appendedOffset).toBe(end);
    expect(forwarder.lagBytes).toBe(0);
  });

  it("a journal that cannot be read stops the node, but not one that is stopping already", async () => {
    await forwarder.stop();
    renameSync(dir, `${dir}.away`);
    try {
      await forward();
      await vi.waitFor(
        () => expect(failures).toEqual([expect.objectContaining({ code: "missing_file" })]),
        PATIENCE,
      );
      failures = [];
      await forward();
      await forwarder.stop();
      expect(failures).toEqual([]);
    } finally {
      rmSync(dir, { recursive: true, force: true });
      renameSync(`${dir}.away`, dir);
    }
  });
});
