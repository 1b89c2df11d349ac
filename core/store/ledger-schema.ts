/**
 * The tables of a ledger, and the one manifest that a ledger is made for.
 *
 * One file holds the books of one mint: one campaign, mode, epoch and manifest, funded once with its budget.
 * Double entry: a posting on the debit side takes from an account, one on the credit side gives to it, so
 * balance = credits − debits, each packet's two postings are equal, and all balances together are 0. Only the
 * sponsor, who stands for the world outside, may be below 0. Constraints state it a second time, below the code.
 */
import { randomBytes } from "node:crypto";
import type { Database } from "better-sqlite3";
import { HongbaoError } from "../format/error.ts";
import { blob, integer, type Row, text } from "./ledger-row.ts";
import type { ManifestFile } from "./manifest-file.ts";

/** "HBLG": tells a ledger from every other SQLite file. */
const APPLICATION_ID = 0x48424c47;
const SCHEMA_VERSION = 2;

const SPONSOR = 1;
export const ESCROW = 2;

/** The funding entry stands under a packet that cannot be: epochs begin with 1. */
const TABLES = `
  CREATE TABLE ledger (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    ledger_id       BLOB    NOT NULL CHECK (length(ledger_id) = 16),
    campaign        TEXT    NOT NULL,
    mode            TEXT    NOT NULL CHECK (mode IN ('TEST', 'LIVE')),
    epoch           INTEGER NOT NULL CHECK (epoch BETWEEN 1 AND 65535),
    manifest_hash   TEXT    NOT NULL CHECK (length(manifest_hash) = 64),
    packets         INTEGER NOT NULL CHECK (packets > 0),
    budget_cents    INTEGER NOT NULL CHECK (budget_cents > 0)
  ) STRICT;

  CREATE TABLE journal (
    shard           INTEGER PRIMARY KEY CHECK (shard BETWEEN 0 AND 65535),
    journal_id      BLOB    NOT NULL UNIQUE CHECK (length(journal_id) = 16),
    -- Every claim of the journal below this offset has its answer here.
    settled_up_to   INTEGER NOT NULL DEFAULT 0 CHECK (settled_up_to >= 0)
  ) STRICT;

  -- Ranges of a journal whose claims have their answers here as well, beyond a gap: batches come in any order.
  CREATE TABLE settled_ahead (
    shard           INTEGER NOT NULL REFERENCES journal (shard),
    from_offset     INTEGER NOT NULL CHECK (from_offset > 0),
    to_offset       INTEGER NOT NULL CHECK (to_offset > from_offset),
    PRIMARY KEY (shard, from_offset)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE account (
    account         INTEGER PRIMARY KEY,
    kind            TEXT    NOT NULL CHECK (kind IN ('sponsor', 'escrow', 'wallet')),
    owner           TEXT    NOT NULL,
    balance_cents   INTEGER NOT NULL CHECK (balance_cents >= 0 OR kind = 'sponsor'),
    postings        INTEGER NOT NULL CHECK (postings >= 0),
    UNIQUE (kind, owner)
  ) STRICT;

  CREATE TABLE credit (
    epoch           INTEGER NOT NULL CHECK (epoch BETWEEN 1 AND 65535),
    shard           INTEGER NOT NULL CHECK (shard BETWEEN 0 AND 65535),
    serial          INTEGER NOT NULL CHECK (serial BETWEEN 0 AND 4294967295),
    cents           INTEGER NOT NULL CHECK (cents BETWEEN 1 AND 4294967295),
    ad              INTEGER NOT NULL CHECK (ad BETWEEN 1 AND 65535),
    user            TEXT    NOT NULL,
    device          TEXT    NOT NULL,
    claimed_at_ms   INTEGER NOT NULL,
    PRIMARY KEY (epoch, shard, serial)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX credit_by_user ON credit (user, ad);

  CREATE TABLE posting (
    epoch           INTEGER NOT NULL,
    shard           INTEGER NOT NULL,
    serial          INTEGER NOT NULL,
    side            TEXT    NOT NULL CHECK (side IN ('debit', 'credit')),
    account         INTEGER NOT NULL REFERENCES account (account),
    cents           INTEGER NOT NULL CHECK (cents > 0),
    PRIMARY KEY (epoch, shard, serial, side)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE rejection (
    epoch           INTEGER NOT NULL,
    shard           INTEGER NOT NULL,
    serial          INTEGER NOT NULL,
    claim           BLOB    NOT NULL CHECK (length(claim) = 32),
    reason          TEXT    NOT NULL
                    CHECK (reason IN ('forged', 'unknown-token', 'double-claim', 'over-quota')),
    detail          TEXT    NOT NULL,
    cents           INTEGER,
    ad              INTEGER,
    user            TEXT    NOT NULL,
    device          TEXT    NOT NULL,
    claimed_at_ms   INTEGER NOT NULL,
    PRIMARY KEY (epoch, shard, serial, claim)
  ) STRICT, WITHOUT ROWID;
`;

/** What a ledger says of itself. */
export interface LedgerPin {
  /** 16 random bytes, made with the ledger: acknowledgements name it. */
  readonly ledgerId: Buffer;
  readonly campaign: string;
  readonly mode: "TEST" | "LIVE";
  readonly epoch: number;
  /** SHA-256 of the manifest's exact bytes, hex. */
  readonly manifestHash: string;
  readonly packets: number;
  readonly budgetCents: number;
}

/** @throws HongbaoError `ledger_mismatch` for another program's database, a later version's or an empty one */
export function recognise(db: Database, path: string): void {
  const applicationId = db.pragma("application_id", { simple: true });
  const version = db.pragma("user_version", { simple: true });
  if (applicationId === APPLICATION_ID && version === SCHEMA_VERSION) return;
  const tables = db.prepare<[], number>("SELECT count(*) FROM sqlite_schema").pluck().get();
  const why =
    applicationId === APPLICATION_ID
      ? `has format ${String(version)}, this program knows ${SCHEMA_VERSION}: use the version of hongbao that made it`
      : tables === 0
        ? "is empty: it was never a ledger, or has lost its contents; move it away to begin a new one"
        : "is the database of another program, not a ledger: set LEDGER_URL to another file";
  throw new HongbaoError("ledger_mismatch", `${path} ${why}`);
}

/** Makes the tables and funds the escrow. Runs inside the caller's transaction: all of it or nothing. */
export function createTables(db: Database, file: ManifestFile): void {
  const { campaign, mode, epoch, packets, budgetCents } = file.manifest;
  db.exec(TABLES);
  db.prepare("INSERT INTO ledger VALUES (1, ?, ?, ?, ?, ?, ?, ?)").run(
    randomBytes(16),
    campaign,
    mode === "test" ? "TEST" : "LIVE",
    epoch,
    file.hash,
    packets,
    budgetCents,
  );
  const account = db.prepare("INSERT INTO account VALUES (?, ?, ?, ?, 1)");
  account.run(SPONSOR, "sponsor", campaign, -budgetCents);
  account.run(ESCROW, "escrow", campaign, budgetCents);
  const posting = db.prepare("INSERT INTO posting VALUES (0, 0, 0, ?, ?, ?)");
  posting.run("debit", SPONSOR, budgetCents);
  posting.run("credit", ESCROW, budgetCents);
  db.pragma(`application_id = ${APPLICATION_ID}`);
  db.pragma(`user_version = ${SCHEMA_VERSION}`);
}

/** @throws HongbaoError `corrupt_ledger` */
export function readPin(db: Database, path: string): LedgerPin {
  const row = db.prepare<[], Row>("SELECT * FROM ledger").get();
  const mode = row?.["mode"];
  if (row === undefined || (mode !== "TEST" && mode !== "LIVE"))
    throw new HongbaoError("corrupt_ledger", `the ledger ${path} does not say whose it is: restore a copy`);
  return {
    ledgerId: blob(row, "ledger_id", 16),
    campaign: text(row, "campaign"),
    mode,
    epoch: integer(row, "epoch"),
    manifestHash: text(row, "manifest_hash"),
    packets: integer(row, "packets"),
    budgetCents: integer(row, "budget_cents"),
  };
}

/** @throws HongbaoError `ledger_mismatch` unless the ledger was made for exactly this manifest */
export function holdPin(pin: LedgerPin, file: ManifestFile, path: string): void {
  if (pin.manifestHash === file.hash) return;
  const { campaign, mode, epoch } = file.manifest;
  const own = `campaign ${pin.campaign} (${pin.mode}), epoch ${pin.epoch}`;
  const wanted = `campaign ${campaign} (${mode.toUpperCase()}), epoch ${epoch}`;
  const why =
    own === wanted
      ? `another mint of ${own}: put back the manifest whose SHA-256 begins with ${pin.manifestHash.slice(0, 12)} (this one's begins with ${file.hash.slice(0, 12)})`
      : `${own}, not ${wanted}: name that campaign and epoch`;
  throw new HongbaoError(
    "ledger_mismatch",
    `the ledger ${path} keeps the books of ${why}, or set LEDGER_URL to a new file; one ledger holds one mint`,
  );
}
