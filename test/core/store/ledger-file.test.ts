/** A ledger's file is made whole or not at all, whoever else makes it, and recognised before it is used. */
import { copyFileSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { openLedgerFile } from "../../../core/store/ledger-file.ts";
import { Mint } from "../../apps/credit-worker/mint.ts";
import { newLedger, reading, refused, tamper, temporaryDirectory } from "./ledger-world.ts";

describe("the file under a ledger", () => {
  it("of a live campaign says LIVE", async () => {
    const { path } = await newLedger(new Mint({ mode: "live" }));
    expect(reading(path, ({ pin }) => pin.mode)).toBe("LIVE");
  });

  it("that another worker makes in the same moment, log and all, is opened and not refused for its log", async () => {
    const mint = new Mint();
    const made = await newLedger(mint);
    made.record(0, Buffer.alloc(16, 1), []);
    const path = join(temporaryDirectory(), "ledger.db");
    const opening = openLedgerFile(path, mint.file);
    // It has looked and found nothing; it has not begun to make its own.
    for (const suffix of ["", "-wal"]) copyFileSync(made.path + suffix, path + suffix);
    const { db, pin, wasCreated } = await opening;
    db.close();
    expect([wasCreated, pin.ledgerId]).toEqual([false, made.pin.ledgerId]);
  });

  it("whose name is too long for its temporary file is refused, and nothing is left behind", async () => {
    const dir = temporaryDirectory();
    const error = await refused(newLedger(new Mint(), join(dir, `${"l".repeat(240)}.db`)));
    expect([error.code, error.message]).toEqual([
      "ledger_unavailable",
      expect.stringMatching(/cannot be reached \(ENAMETOOLONG\): check the path/),
    ]);
    expect(readdirSync(dir)).toEqual([]);
  });

  it("that is empty was never a ledger, or has lost its contents: it is not filled", async () => {
    const path = join(temporaryDirectory(), "ledger.db");
    writeFileSync(path, "");
    const error = await refused(newLedger(new Mint(), path));
    expect([error.code, error.message]).toEqual([
      "ledger_mismatch",
      `${path} is empty: it was never a ledger, or has lost its contents; move it away to begin a new one`,
    ]);
    expect(existsSync(`${path}-wal`)).toBe(false);
  });

  it.each([
    ["has lost its pin", "DELETE FROM ledger"],
    ["is neither TEST nor LIVE", "PRAGMA ignore_check_constraints = ON; UPDATE ledger SET mode = 'DRY'"],
  ])("that %s does not say whose it is", async (_, sql) => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    ledger.close();
    tamper(ledger.path, sql);
    const error = await refused(newLedger(mint, ledger.path));
    expect([error.code, error.message]).toEqual([
      "corrupt_ledger",
      `the ledger ${ledger.path} does not say whose it is: restore a copy`,
    ]);
    // It was closed again: nothing holds it.
    const db = new Database(ledger.path);
    db.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT");
    db.close();
  });
});
