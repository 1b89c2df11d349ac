/**
 * The SQLite file under a ledger: recognised before anything is written to it, put into the mode in which a
 * commit is a promise, made and funded once.
 *
 * What must hold when `openLedgerFile` returns, read back from SQLite: a write-ahead log, synchronous=FULL,
 * foreign keys, and the pin of exactly this manifest.
 */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { HongbaoError, invariant } from "../format/error.ts";
import { makeDirectory, syncDirectory } from "./durable.ts";
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
    await makeDirectory(dirname(path));
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw isDirectory(path);
    db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
    const wasCreated = prepareFile(db, path, file);
    // If we die before this, a power loss may take a ledger that has acknowledged nothing yet.
    await syncDirectory(dirname(path));
    const pin = readPin(db, path);
    holdPin(pin, file, path);
    return { db, pin, wasCreated };
  } catch (cause) {
    db?.close();
    throw ledgerError(cause, path);
  }
}

function prepareFile(db: Database.Database, path: string, file: ManifestFile): boolean {
  const found = recognise(db, path);
  configure(db, path);
  return found === "empty" && createOnce(db, path, file);
}

/** better-sqlite3 is built with synchronous=NORMAL under WAL, which may lose commits: the order matters. */
function configure(db: Database.Database, path: string): void {
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

/** Two workers may start at once: the second one waits for the lock and finds the tables made. */
function createOnce(db: Database.Database, path: string, file: ManifestFile): boolean {
  const create = db.transaction(() => {
    if (recognise(db, path) === "ledger") return false;
    createTables(db, file);
    return true;
  });
  // If we die inside, the transaction is undone and the file still holds no table.
  return create.immediate();
}

function isDirectory(path: string): HongbaoError {
  return new HongbaoError("ledger_unavailable", `the ledger ${path} is a directory: give the path of a file`);
}
