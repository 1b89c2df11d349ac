/** What the ledger's tests share: temporary directories, a ledger in them, its rows, and refusals as values. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { onTestFinished } from "vitest";
import { HongbaoError } from "../../../core/format/error.ts";
import { type Ledger, openLedger } from "../../../core/store/ledger.ts";
import { type LedgerReader, readLedger } from "../../../core/store/ledger-reader.ts";
import type { Mint } from "../../apps/credit-worker/mint.ts";

/** Removed when the running test is over. */
export function temporaryDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), "hongbao-ledger-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export async function newLedger(mint: Mint, path = join(temporaryDirectory(), "ledger.db")): Promise<Ledger> {
  const ledger = await openLedger({ kind: "sqlite", path }, mint.file);
  onTestFinished(() => ledger.close());
  return ledger;
}

export function reading<T>(path: string, read: (ledger: LedgerReader) => T): T {
  const reader = readLedger(path);
  try {
    return read(reader);
  } finally {
    reader.close();
  }
}

/** Whatever somebody does to a ledger with another tool. */
export function tamper(path: string, sql: string): void {
  const db = new Database(path);
  try {
    db.exec(sql);
  } finally {
    db.close();
  }
}

/** Everything in the ledger except its random ID, to compare two of them. */
export function contents(path: string) {
  return reading(path, (ledger) => ({
    totals: ledger.totals(),
    postings: ledger.postingTotals(),
    credits: [...ledger.credits()],
    rejections: [...ledger.rejections()],
    journals: [...ledger.journals()],
    wallets: wallets(path),
  }));
}

/** Balance of every wallet in cents, by user. */
export function wallets(path: string): Record<string, number> {
  const db = new Database(path, { readonly: true });
  try {
    const rows = db
      .prepare<[], [string, number]>(
        "SELECT owner, balance_cents FROM account WHERE kind = 'wallet' ORDER BY owner",
      )
      .raw()
      .all();
    return Object.fromEntries(rows);
  } finally {
    db.close();
  }
}

/** The books prove themselves: no fault of any kind, debits = credits. */
export function faults(path: string): unknown[] {
  return reading(path, (ledger) => {
    const { debitCents, creditCents } = ledger.postingTotals();
    return [
      ...ledger.postingFaults(),
      ...ledger.balanceFaults(),
      ...ledger.integrityFaults(),
      ...(debitCents === creditCents ? [] : [{ debitCents, creditCents }]),
    ];
  });
}

export function refusal(work: () => unknown): HongbaoError {
  try {
    work();
  } catch (error) {
    if (error instanceof HongbaoError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

export async function refused(work: Promise<unknown>): Promise<HongbaoError> {
  const error = await work.then(
    () => new Error("nothing was refused"),
    (reason: unknown) => reason,
  );
  if (error instanceof HongbaoError) return error;
  throw error;
}
