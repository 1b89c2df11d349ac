/**
 * The SQLite file under a ledger: made whole or not at all, recognised before anything is written to it, and put
 * into the mode in which a commit is a promise.
 *
 * What must hold when `openLedgerFile` returns, read back from SQLite: a write-ahead log, synchronous=FULL,
 * foreign keys, and the pin of exactly this manifest.
 */
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { chmod, link, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import Database from "better-sqlite3";
import { HongbaoError, invariant, systemCode } from "../format/error.ts";
import { makeDirectory, PRIVATE_DIRECTORY, syncDirectory } from "./durable.ts";
import { ledgerError } from "./ledger-error.ts";
import { createTables, holdPin, type LedgerPin, readPin, recognise } from "./ledger-schema.ts";
import type { ManifestFile } from "./manifest-file.ts";

/** SQLite waits with the whole event loop: longer waits are the caller's, asynchronously. */
const BUSY_TIMEOUT_MS = 250;

export interface LedgerFile {
  readonly db: Database.Database;
  readonly pin: LedgerPin;
  readonly wasCreated: boolean;
}

/** @throws HongbaoError `ledger_mismatch`, `ledger_unavailable`, `corrupt_ledger` */
export async function openLedgerFile(path: string, file: ManifestFile): Promise<LedgerFile> {
  let db: Database.Database | undefined;
  try {
    const wasCreated = await makeOnce(path, file);
    db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
    recognise(db, path);
    configure(db, path);
    const pin = readPin(db, path);
    holdPin(pin, file, path);
    return { db, pin, wasCreated };
  } catch (cause) {
    db?.close();
    throw ledgerError(cause, path);
  }
}

/** Two workers may start at once: one of the two links its file to the name, the other finds it there. */
async function makeOnce(path: string, file: ManifestFile): Promise<boolean> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory())
    throw new HongbaoError(
      "ledger_unavailable",
      `the ledger ${path} is a directory: give the path of a file`,
    );
  if (found !== undefined) return false;
  await makeDirectory(dirname(path), PRIVATE_DIRECTORY);
  refuseLeftovers(path);
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    fillFile(temporary, path, file);
    await chmod(temporary, 0o640);
    // If we die here, the name does not exist yet; a stray temporary file is all that is left.
    await link(temporary, path);
  } catch (cause) {
    if (systemCode(cause) === "EEXIST") return false;
    throw cause;
  } finally {
    await rm(temporary, { force: true });
  }
  // If we die here, a power loss may take a ledger that has acknowledged nothing yet.
  await syncDirectory(dirname(path));
  return true;
}

/**
 * SQLite would take the log of another ledger for this one's, and mix the two without a word. An empty log, or an
 * index alone, as readers leave them, holds nothing. Nothing is removed here: it may already be in use by a worker
 * that made the ledger a moment ago.
 */
function refuseLeftovers(path: string): void {
  for (const log of [`${path}-wal`, `${path}-journal`]) {
    if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) === 0) continue;
    if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
    throw new HongbaoError(
      "ledger_unavailable",
      `there is no ledger ${path}, but ${log} of an earlier one: put that ledger back, or move this file away with it`,
    );
  }
}

/** Closing the only connection brings everything from the log into the file, and syncs it. */
function fillFile(temporary: string, path: string, file: ManifestFile): void {
  const db = new Database(temporary, { timeout: BUSY_TIMEOUT_MS });
  try {
    configure(db, path);
    db.transaction(() => createTables(db, file)).immediate();
  } finally {
    db.close();
  }
}

/** better-sqlite3 is built with synchronous=NORMAL under WAL, which may lose commits: the order matters. */
function configure(db: Database.Database, path: string): void {
  /* v8 ignore if -- only a file system of another machine says no, and there is none to test on */
  if (db.pragma("journal_mode = WAL", { simple: true }) !== "wal")
    throw new HongbaoError(
      "ledger_unavailable",
      `the ledger ${path} cannot have a write-ahead log: put it on a local disk`,
    );
  db.pragma("synchronous = FULL");
  db.pragma("fullfsync = ON");
  // Serials come shuffled: over a longer log, pages that are hit again are written back once (a fifth less CPU).
  db.pragma("wal_autocheckpoint = 10000");
  db.pragma("foreign_keys = ON");
  invariant(db.pragma("synchronous", { simple: true }) === 2, "the ledger syncs every commit");
  invariant(db.pragma("foreign_keys", { simple: true }) === 1, "the ledger holds its references");
}
