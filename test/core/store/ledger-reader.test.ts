/** Finance reads a ledger: consistently while it is written, and without believing a word of it. */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { readLedger } from "../../../core/store/ledger-reader.ts";
import { journalId, Mint } from "../../apps/credit-worker/mint.ts";
import { faults, newLedger, reading, refusal, tamper, temporaryDirectory } from "./ledger-world.ts";

const generous = { perUser: 1000, perAd: 1000 };

/** Two shards, ten credits each, their serials recorded from high to low; closed. */
async function books(): Promise<string> {
  const mint = new Mint({ shards: 2, lanePackets: 10, quota: generous });
  const ledger = await newLedger(mint);
  for (const shard of [1, 0])
    for (let serial = 9; serial >= 0; serial--)
      ledger.record(shard, journalId(shard), [mint.checked(shard, serial, `user-${serial % 3}`)]);
  ledger.close();
  return ledger.path;
}

/** The page at which a table begins, from 1. */
function rootPage(path: string, table: string): number {
  const db = new Database(path, { readonly: true });
  const page = db
    .prepare<[string], number>("SELECT rootpage FROM sqlite_schema WHERE name = ?")
    .pluck()
    .get(table);
  db.close();
  if (page === undefined) throw new Error(`no table ${table}`);
  return page;
}

/** What a bad tool does: copies a table without its constraints. */
function withoutConstraints(path: string, table: string): void {
  tamper(
    path,
    `CREATE TABLE loose AS SELECT * FROM ${table}; DROP TABLE ${table}; ALTER TABLE loose RENAME TO ${table};`,
  );
}

describe("reading", () => {
  it("streams credits in packet order", async () => {
    const order = reading(await books(), (ledger) =>
      [...ledger.credits()].map(({ shard, serial }) => [shard, serial]),
    );
    const ten = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    expect(order).toEqual([...ten.map((serial) => [0, serial]), ...ten.map((serial) => [1, serial])]);
  });

  it("sees one moment, also while a worker goes on crediting; two streams run side by side", async () => {
    const mint = new Mint({ lanePackets: 10, quota: generous });
    const ledger = await newLedger(mint);
    ledger.record(0, journalId(0), [mint.checked(0, 1, "ann"), mint.checked(0, 2, "ann")]);
    const reader = readLedger(ledger.path);
    const credits = reader.credits();
    const rejections = reader.rejections();
    credits.next();
    expect(rejections.next().done).toBe(true);
    const later = [mint.checked(0, 3, "ann"), mint.checked(0, 1, "bob")];
    expect(ledger.record(0, journalId(0), later)).toEqual(["created", "conflict"]);
    expect([...credits].map(({ serial }) => serial)).toEqual([2]);
    expect(reader.totals().packets).toBe(2);
    expect([...reader.rejections()]).toEqual([]);
    expect([...reader.postingFaults(), ...reader.balanceFaults()]).toEqual([]);
    reader.close();
    expect(reading(ledger.path, (again) => again.totals().packets)).toBe(3);
  });

  it("works after a worker was killed, its write-ahead log still there", async () => {
    const mint = new Mint({ lanePackets: 10, quota: generous });
    const ledger = await newLedger(mint);
    ledger.record(0, journalId(0), [mint.checked(0, 1, "ann")]);
    const copy = join(temporaryDirectory(), "copy.db");
    copyFileSync(ledger.path, copy);
    copyFileSync(`${ledger.path}-wal`, `${copy}-wal`);
    expect(reading(copy, (reader) => reader.totals().packets)).toBe(1);
  });

  it("a ledger that no worker made yet is missing, not corrupt", () => {
    const path = join(temporaryDirectory(), "ledger.db");
    const missing = refusal(() => readLedger(path));
    expect([missing.code, missing.message]).toEqual([
      "missing_file",
      expect.stringMatching(/no credit worker has run/),
    ]);
  });

  it("never writes: the file's bytes are the same afterwards", async () => {
    const path = await books();
    chmodSync(path, 0o444);
    const before = readFileSync(path);
    expect(faults(path)).toEqual([]);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it("refuses what is no ledger", async () => {
    const dir = temporaryDirectory();
    const text = join(dir, "text.db");
    writeFileSync(text, "dear diary, ".repeat(1000));
    expect(refusal(() => readLedger(text)).message).toMatch(/is not a SQLite database/);
    const foreign = join(dir, "foreign.db");
    tamper(foreign, "CREATE TABLE cookies (x)");
    const error = refusal(() => readLedger(foreign));
    expect([error.code, error.message]).toEqual([
      "ledger_mismatch",
      expect.stringMatching(/another program/),
    ]);
    mkdirSync(join(dir, "d"));
    expect(refusal(() => readLedger(join(dir, "d"))).code).toBe("ledger_unavailable");
  });
});

describe("books that were changed from outside", () => {
  it("whole books have no fault", async () => {
    expect(faults(await books())).toEqual([]);
  });

  it("a packet credited twice comes twice, in its place, though the primary key is gone", async () => {
    const path = await books();
    withoutConstraints(path, "credit");
    tamper(
      path,
      "INSERT INTO credit SELECT epoch, shard, serial, cents, ad, 'eve', device, 1 FROM credit WHERE shard = 0 AND serial = 4",
    );
    reading(path, (ledger) => {
      const serials = [...ledger.credits()].filter(({ shard }) => shard === 0).map(({ serial }) => serial);
      expect(serials).toEqual([0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9]);
      expect([...ledger.postingFaults()]).toEqual([
        {
          epoch: 1,
          shard: 0,
          serial: 4,
          creditedCents: 298,
          debitCents: 149,
          creditCents: 149,
          detail: "credited 298 cents, debited 149, posted to wallets 149",
        },
      ]);
    });
  });

  it.each([
    ["a changed amount", "UPDATE credit SET cents = cents + 1 WHERE shard = 1 AND serial = 2", [[1, 1, 2]]],
    [
      "a posting that is gone",
      "DELETE FROM posting WHERE shard = 1 AND serial = 2 AND side = 'debit'",
      [[1, 1, 2]],
    ],
    ["a credit that is gone", "DELETE FROM credit WHERE shard = 0 AND serial = 0", [[1, 0, 0]]],
    ["a funding that was raised", "UPDATE posting SET cents = cents + 1 WHERE epoch = 0", [[0, 0, 0]]],
    [
      "money moved to another user",
      "UPDATE credit SET user = 'eve' WHERE shard = 1 AND serial = 9",
      [[1, 1, 9]],
    ],
    [
      "a posting to another wallet",
      "UPDATE posting SET account = 3 WHERE shard = 1 AND serial < 3 AND side = 'credit'",
      null,
    ],
    ["a posting for nothing", "INSERT INTO posting VALUES (1, 5, 5, 'credit', 3, 7)", [[1, 5, 5]]],
  ])("%s is a posting fault at its packet", async (_, sql, packets) => {
    const path = await books();
    tamper(path, sql);
    const found = reading(path, (ledger) => [...ledger.postingFaults()]);
    if (packets === null) expect(found[0]?.detail).toMatch(/stand on other accounts/);
    else expect(found.map(({ epoch, shard, serial }) => [epoch, shard, serial])).toEqual(packets);
    expect(found.length).toBeGreaterThan(0);
  });

  it("a changed balance, or an account that is gone, is a balance fault", async () => {
    const path = await books();
    tamper(
      path,
      "PRAGMA foreign_keys = OFF; UPDATE account SET balance_cents = balance_cents + 5 WHERE owner = 'user-1'; DELETE FROM account WHERE owner = 'user-2'",
    );
    const found = reading(path, (ledger) => [...ledger.balanceFaults()]);
    expect(
      found.map(({ kind, owner, balanceCents, postedCents }) => [kind, owner, balanceCents - postedCents]),
    ).toEqual([
      ["none", "", expect.any(Number)],
      ["wallet", "user-1", 5],
    ]);
  });

  it("a value that cannot be stops the stream as corrupt", async () => {
    const path = await books();
    withoutConstraints(path, "credit");
    tamper(path, "UPDATE credit SET cents = 'ten' WHERE serial = 3");
    const error = reading(path, (ledger) => refusal(() => [...ledger.credits()]));
    expect([error.code, error.message]).toEqual([
      "corrupt_ledger",
      expect.stringMatching(/value of cents.*whole number/),
    ]);
  });

  it("a rejection for a reason that nobody gave is corrupt", async () => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    const refused = { verdict: "refused", claim: mint.claim(0, 1, "eve"), detail: "checksum" } as const;
    ledger.record(0, journalId(0), [{ ...refused, reason: "forged" }]);
    tamper(ledger.path, "PRAGMA ignore_check_constraints = ON; UPDATE rejection SET reason = 'dislike'");
    const error = reading(ledger.path, (reader) => refusal(() => [...reader.rejections()]));
    expect([error.code, error.message]).toEqual([
      "corrupt_ledger",
      "the ledger holds a rejection for an unknown reason",
    ]);
  });

  it("a damaged page is found by SQLite's check, also where no query goes", async () => {
    const path = await books();
    const page = rootPage(path, "rejection");
    const bytes = readFileSync(path);
    // The page says that it has more gaps than it can have.
    bytes.writeUInt8(0x20, (page - 1) * 4096 + 7);
    writeFileSync(path, bytes);
    reading(path, (ledger) => {
      expect([...ledger.credits()]).toHaveLength(20);
      expect([...ledger.integrityFaults()]).toEqual([
        expect.stringContaining(`Tree ${page} page ${page}: free space corruption`),
      ]);
    });
  });

  it("an escrow that is gone has no totals", async () => {
    const path = await books();
    tamper(path, "PRAGMA foreign_keys = OFF; DELETE FROM account WHERE kind = 'escrow'");
    const error = reading(path, (ledger) => refusal(() => ledger.totals()));
    expect([error.code, error.message]).toEqual([
      "corrupt_ledger",
      `the ledger ${path} has lost its escrow account`,
    ]);
  });

  it("a table that is gone is corrupt, in one sentence", async () => {
    const path = await books();
    tamper(path, "DROP TABLE credit");
    const error = reading(path, (ledger) => refusal(() => [...ledger.credits()]));
    expect([error.code, error.message]).toEqual([
      "corrupt_ledger",
      expect.stringMatching(/no such table: credit/),
    ]);
  });
});
