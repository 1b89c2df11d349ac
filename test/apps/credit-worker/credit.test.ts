/** Batch in, acknowledgement out: what is believed, what is credited, what is refused, what is dropped. */
import Database from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { batchHash, decodeAck } from "../../../core/format/claim-batch.ts";
import { contents, faults, refused, tamper } from "../../core/store/ledger-world.ts";
import { journalId, Mint } from "./mint.ts";
import { acknowledged, newCrediting } from "./stage.ts";

const generous = { perUser: 1000, perAd: 1000 };
const NODE_THIEF = new Uint8Array(32).fill(0x66);

describe("an authentic batch", () => {
  it("is credited, then acknowledged: range, ledger and the batch's hash, under the wire key", async () => {
    const mint = new Mint({ shards: 2 });
    const { crediting, ledger, path } = await newCrediting(mint);
    const batch = mint.batch(1, [mint.claim(1, 3, "ann"), mint.claim(1, 60, "bob")], { from: 77, to: 99 });
    const ack = await acknowledged(crediting, mint, 1, batch);
    expect(ack).toMatchObject({ epoch: 1, shard: 1, from: 77, to: 99 });
    expect(Buffer.from(ack.journalId)).toEqual(journalId(1));
    expect(Buffer.from(ack.ledgerId)).toEqual(ledger.pin.ledgerId);
    expect(Buffer.from(ack.batchHash)).toEqual(Buffer.from(batchHash(batch)));
    expect(decodeAck(mint.keys(0).wire, batch)).toBe(undefined);
    expect(contents(path).wallets).toEqual({ ann: mint.cents(3), bob: mint.cents(60) });
    expect(crediting.stats).toMatchObject({ batches: 1, created: 2, cents: mint.cents(3) + mint.cents(60) });
  });

  it("sent again finds exists, is acknowledged again, and changes nothing", async () => {
    const mint = new Mint();
    const { crediting, path } = await newCrediting(mint);
    const batch = mint.batch(0, [mint.claim(0, 3, "ann")]);
    const first = await acknowledged(crediting, mint, 0, batch);
    const before = contents(path);
    expect(await acknowledged(crediting, mint, 0, batch)).toEqual(first);
    expect(contents(path)).toEqual(before);
    expect(crediting.stats).toMatchObject({ batches: 2, created: 1, exists: 1 });
  });

  it("without a claim is acknowledged, and pins its journal", async () => {
    const mint = new Mint();
    const { crediting } = await newCrediting(mint);
    await acknowledged(crediting, mint, 0, mint.batch(0, []));
    const other = mint.batch(0, [mint.claim(0, 1, "ann")], { journalId: Buffer.alloc(16, 9) });
    const answer = await crediting.credit(other);
    expect(answer.outcome).toBe("refused");
    const told = answer.outcome === "refused" ? decodeAck(mint.keys(0).wire, answer.ack) : undefined;
    expect(told).toMatchObject({ standing: "other-journal", settledUpTo: 0 });
    expect(crediting.stats).toMatchObject({ created: 0, dropped: { "wrong-journal": 1 } });
  });

  it("for another ledger is answered with this one's name, and nothing of it is credited", async () => {
    const mint = new Mint();
    const { crediting, ledger } = await newCrediting(mint);
    const batch = mint.batch(0, [mint.claim(0, 1, "ann")], { forLedger: Buffer.alloc(16, 9) });
    const ack = await acknowledged(crediting, mint, 0, batch);
    expect(ledger.pin.ledgerId.equals(ack.ledgerId)).toBe(true);
    expect(crediting.stats).toMatchObject({ created: 0, batches: 0 });
    const own = mint.batch(0, [mint.claim(0, 1, "ann")], { forLedger: ledger.pin.ledgerId });
    await acknowledged(crediting, mint, 0, own);
    expect(crediting.stats).toMatchObject({ created: 1, batches: 1 });
  });

  it("moves what the ledger vouches for up to the first gap", async () => {
    const mint = new Mint();
    const { crediting } = await newCrediting(mint);
    const settle = async (from: number, to: number, serial: number) =>
      (
        await acknowledged(
          crediting,
          mint,
          0,
          mint.batch(0, [mint.claim(0, serial, `u${serial}`)], { from, to }),
        )
      ).settledUpTo;
    expect(await settle(0, 100, 1)).toBe(100);
    expect(await settle(200, 300, 3)).toBe(100);
    expect(await settle(100, 200, 2)).toBe(300);
    expect(await settle(200, 300, 3)).toBe(300);
    expect(await settle(0, 100, 1)).toBe(300);
  });

  it("of a thousand claims is one transaction without a rate", async () => {
    const mint = new Mint({ lanePackets: 500, quota: generous });
    const { crediting, path } = await newCrediting(mint);
    const claims = Array.from({ length: 1000 }, (_, serial) => mint.claim(0, serial, `u${serial % 13}`));
    await acknowledged(crediting, mint, 0, mint.batch(0, claims));
    const { totals } = contents(path);
    expect(totals).toEqual({ packets: 1000, cents: mint.manifest.budgetCents });
    expect(faults(path)).toEqual([]);
  });
});

describe("a claim that is not money is recorded, and the others of its batch are credited", () => {
  const mint = new Mint({ shards: 2 });
  const elsewhere = new Mint({ campaign: "other" });
  const stolen = (bend: Parameters<Mint["token"]>[2]) => mint.token(0, 9, bend);
  const flip = (token: Uint8Array, at: number) => token.map((byte, i) => (i === at ? byte ^ 1 : byte));
  it.each([
    ["its tag does not hold", () => flip(mint.token(0, 9), 44), "forged", "token", [1, 0, 9]],
    ["its sealed bytes were changed", () => flip(mint.token(0, 9), 20), "forged", "token", [1, 0, 9]],
    ["its serial was changed", () => flip(mint.token(0, 9), 12), "forged", "token", [1, 0, 8]],
    ["its version is unknown", () => flip(mint.token(0, 9), 0), "forged", "token", [1, 0, 9]],
    ["noise", () => new Uint8Array(45).fill(0xab), "forged", "scope", [0xabab, 0xabab, 0xabababab]],
    ["genuine, but another shard's", () => mint.token(1, 9), "forged", "scope", [1, 1, 9]],
    ["of another campaign", () => elsewhere.token(0, 9), "forged", "scope", [1, 0, 9]],
    [
      "sealed with a stolen node key",
      () => stolen({ settlement: NODE_THIEF }),
      "forged",
      "checksum",
      [1, 0, 9],
    ],
    [
      "no packet of the mint",
      () => mint.token(0, 100, { packets: 101 }),
      "unknown-token",
      "serial",
      [1, 0, 100],
    ],
    ["for an ad that its shard does not have", () => stolen({ ad: 3 }), "forged", "ad", [1, 0, 9]],
    ["worth nothing", () => stolen({ cents: 0 }), "forged", "amount", [1, 0, 9]],
    ["worth more than its lane", () => stolen({ cents: 4_000_000_000 }), "forged", "amount", [1, 0, 9]],
  ])("%s", async (_, token, reason, detail, [epoch, shard, serial]) => {
    const { crediting, path, lines } = await newCrediting(mint);
    const bad = { token: token(), user: "eve", device: "eve-phone", atMs: 5 };
    const batch = mint.batch(0, [mint.claim(0, 1, "ann"), bad, mint.claim(0, 60, "bob")]);
    await acknowledged(crediting, mint, 0, batch);
    await acknowledged(crediting, mint, 0, batch);
    const { rejections, wallets } = contents(path);
    expect(rejections).toMatchObject([{ epoch, shard, serial, reason, detail, user: "eve", claimedAtMs: 5 }]);
    expect(rejections[0]?.cents).toBe(undefined);
    expect(wallets).toEqual({ ann: mint.cents(1), bob: mint.cents(60) });
    expect(crediting.stats).toMatchObject({ created: 2, rejected: 1, exists: 3, conflict: 0 });
    const alarms = lines.filter(({ level }) => level >= 50);
    expect(alarms.map(({ shard, badChecksums }) => [shard, badChecksums])).toEqual(
      detail === "checksum" ? [[0, 1]] : [],
    );
    expect(crediting.stats.badChecksums).toBe(detail === "checksum" ? 1 : 0);
    expect(faults(path)).toEqual([]);
  });

  it.each([
    ["without a user", "", "d"],
    ["with a device beyond every bound", "u", "x".repeat(129)],
  ])("%s", async (_, user, device) => {
    const { crediting, path } = await newCrediting(mint);
    await acknowledged(crediting, mint, 0, mint.batch(0, [mint.claim(0, 1, user, device)]));
    expect(contents(path).rejections).toMatchObject([{ reason: "forged", detail: "identity" }]);
  });

  it("two rivals for a packet: the first commit wins, the other is a double-claim", async () => {
    const { crediting, path } = await newCrediting(mint);
    await acknowledged(crediting, mint, 0, mint.batch(0, [mint.claim(0, 1, "ann"), mint.claim(0, 1, "bob")]));
    expect(contents(path).wallets).toEqual({ ann: mint.cents(1) });
    expect(crediting.stats).toMatchObject({ created: 1, conflict: 1 });
    expect(contents(path).rejections).toMatchObject([
      { reason: "double-claim", detail: "user", user: "bob", cents: mint.cents(1) },
    ]);
  });

  it("over the quota", async () => {
    const { crediting, path } = await newCrediting(mint);
    await acknowledged(crediting, mint, 0, mint.batch(0, [mint.claim(0, 1, "ann"), mint.claim(0, 2, "ann")]));
    expect(contents(path).rejections).toMatchObject([{ serial: 2, reason: "over-quota", detail: "ad" }]);
  });
});

describe("a batch that is not authentic is dropped whole and counted", () => {
  const mint = new Mint({ shards: 2 });
  const claims = [mint.claim(0, 1, "ann")];
  const last = (batch: Uint8Array) => batch.map((byte, i) => (i === batch.length - 1 ? byte ^ 1 : byte));
  it.each([
    ["nothing", () => new Uint8Array(0), "not-ours"],
    ["noise", () => new Uint8Array(500).fill(1), "not-ours"],
    ["of another campaign", () => new Mint({ campaign: "other" }).batch(0, claims), "not-ours"],
    ["of another epoch", () => new Mint({ epoch: 2 }).batch(0, claims), "not-ours"],
    ["of a shard that does not exist", () => mint.batch(2, claims), "not-ours"],
    ["with a changed MAC", () => last(mint.batch(0, claims)), "forged"],
    [
      "with a claim changed",
      () => mint.batch(0, claims).map((byte, i) => (i === 70 ? byte ^ 1 : byte)),
      "forged",
    ],
    ["cut short", () => mint.batch(0, claims).subarray(0, -5), "forged"],
    ["under another shard's wire key", () => rename(mint.batch(1, claims)), "forged"],
    ["of another mint of the same epoch", () => new Mint({ lanePackets: 51 }).batch(0, claims), "forged"],
    [
      "with more claims than a batch has",
      () =>
        mint.batch(
          0,
          Array.from({ length: 1001 }, () => claims[0] ?? never()),
        ),
      "forged",
    ],
  ])("%s", async (_, batch, why) => {
    const { crediting, path, lines } = await newCrediting(mint);
    for (let i = 0; i < 5; i++) expect(await crediting.credit(batch())).toEqual({ outcome: "dropped", why });
    expect(contents(path)).toMatchObject({ credits: [], rejections: [], journals: [] });
    expect(crediting.stats.dropped).toMatchObject({ [why]: 5 });
    // Who floods the queue does not flood the log: 1st, 2nd and 4th.
    expect(lines.filter(({ level }) => level === 40).map(({ count }) => count)).toEqual([1, 2, 4]);
  });
});

describe("the ledger's trouble", () => {
  it("locked: crediting waits with growing pauses, warns once, goes on, and acknowledges only then", async () => {
    const mint = new Mint();
    const { crediting, clock, lines, path } = await newCrediting(mint);
    const shell = new Database(path);
    shell.exec("BEGIN IMMEDIATE");
    clock.onSleep = () => {
      if (clock.slept.length === 3) shell.exec("ROLLBACK");
    };
    await acknowledged(crediting, mint, 0, mint.batch(0, [mint.claim(0, 1, "ann")]));
    shell.close();
    expect(clock.slept).toEqual([50, 100, 200]);
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
      [40, "the ledger is locked: crediting waits"],
      [30, "the ledger is free again: crediting goes on"],
    ]);
    expect(contents(path).totals.packets).toBe(1);
  });

  it("anything else: no acknowledgement, thrown on at once", async () => {
    const mint = new Mint();
    const { crediting, clock, path } = await newCrediting(mint);
    tamper(path, "DROP TABLE posting");
    const error = await refused(crediting.credit(mint.batch(0, [mint.claim(0, 1, "ann")])));
    expect(error.code).toBe("corrupt_ledger");
    expect(clock.slept).toEqual([]);
    expect(crediting.stats.batches).toBe(0);
  });
});

it("nothing secret is logged: no token, no key, no user", async () => {
  const mint = new Mint();
  const { crediting, lines } = await newCrediting(mint);
  const token = mint.token(0, 9, { settlement: NODE_THIEF });
  await acknowledged(
    crediting,
    mint,
    0,
    mint.batch(0, [{ token, user: "mallory", device: "mallory-phone", atMs: 5 }]),
  );
  await crediting.credit(mint.batch(0, [], { journalId: Buffer.alloc(16, 9) }));
  const text = JSON.stringify(lines);
  expect(lines.length).toBe(2);
  expect(text).not.toMatch(/mallory/);
  expect(text).not.toContain(Buffer.from(token).toString("base64url"));
  expect(text).not.toContain(mint.settlement.tokenRoot);
});

/** The batch of shard 1 says that it is shard 0's. */
function rename(batch: Buffer): Buffer {
  batch.writeUInt16BE(0, 7);
  return batch;
}

function never(): never {
  throw new Error("there is a claim");
}
