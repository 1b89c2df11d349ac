/**
 * A ledger as finance reads it: one consistent snapshot, taken on opening and not moved by a worker that goes
 * on crediting; rows as streams in packet order; and the books' own proofs.
 *
 * It trusts nothing that it reads. The constraints under which the ledger was written may have been dropped
 * since (a packet credited twice, a changed amount, postings that are missing), so every order and every sum is
 * made anew, and a value that cannot be is `corrupt_ledger`. It writes nothing.
 */
import { existsSync } from "node:fs";
import Database from "better-sqlite3";
import { HongbaoError } from "../format/error.ts";
import type { PacketId } from "../format/packet.ts";
import {
  type BalanceFault,
  balanceFaults,
  type PostingFault,
  postingFaults,
  postingTotals,
} from "./ledger-audit.ts";
import type { RejectionReason } from "./ledger-claim.ts";
import { ledgerError } from "./ledger-error.ts";
import { blob, integer, type Row, text } from "./ledger-row.ts";
import { ESCROW, type LedgerPin, readPin, recognise } from "./ledger-schema.ts";

const BUSY_TIMEOUT_MS = 5000;
const INTEGRITY_FAULTS_MAX = 20;

export interface CreditRow extends PacketId {
  readonly cents: number;
  readonly ad: number;
  readonly user: string;
  readonly device: string;
  readonly claimedAtMs: number;
}

export interface RejectionRow extends PacketId {
  /** SHA-256 of the claim, see `claimHash`. */
  readonly claim: Buffer;
  readonly reason: RejectionReason;
  readonly detail: string;
  /** Known if the token was authentic (double-claim, over-quota). */
  readonly cents?: number;
  readonly ad?: number;
  readonly user: string;
  readonly device: string;
  readonly claimedAtMs: number;
}

/**
 * @throws HongbaoError `missing_file` if no worker has made the ledger yet, `ledger_mismatch`,
 *   `ledger_unavailable`, `corrupt_ledger`; the iterables throw the last two as well
 */
export function readLedger(path: string): LedgerReader {
  if (!existsSync(path)) throw noLedger(path);
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
    // The snapshot begins with the first read behind BEGIN.
    db.exec("BEGIN");
    recognise(db, path);
    return new LedgerReader(db, path, readPin(db, path));
  } catch (cause) {
    db?.close();
    throw ledgerError(cause, path);
  }
}

export class LedgerReader {
  readonly pin: LedgerPin;
  private readonly db: Database.Database;
  private readonly path: string;
  private rejected: Database.Statement | undefined;

  constructor(db: Database.Database, path: string, pin: LedgerPin) {
    this.db = db;
    this.path = path;
    this.pin = pin;
  }

  /** The journal that each shard is pinned to, by shard. */
  journals(): Map<number, Buffer> {
    const pins = new Map<number, Buffer>();
    for (const row of this.query("SELECT shard, journal_id AS journal FROM journal ORDER BY shard"))
      pins.set(integer(row, "shard"), blob(row, "journal", 16));
    return pins;
  }

  /** What was credited so far, by the escrow's account: cheap at any size, for the live view. */
  totals(): { packets: number; cents: number } {
    const sql = `SELECT balance_cents AS balance, postings FROM account WHERE account = ${ESCROW}`;
    for (const row of this.query(sql))
      return {
        packets: integer(row, "postings") - 1,
        cents: this.pin.budgetCents - integer(row, "balance"),
      };
    throw new HongbaoError("corrupt_ledger", `the ledger ${this.path} has lost its escrow account`);
  }

  /** Every credit, ordered by epoch, shard, serial; a packet credited twice comes twice. */
  *credits(): Generator<CreditRow> {
    const sql = `SELECT epoch, shard, serial, cents, ad, user, device, claimed_at_ms AS claimedAtMs
                 FROM credit ORDER BY epoch, shard, serial`;
    for (const row of this.query(sql))
      yield {
        epoch: integer(row, "epoch"),
        shard: integer(row, "shard"),
        serial: integer(row, "serial"),
        cents: integer(row, "cents"),
        ad: integer(row, "ad"),
        user: text(row, "user"),
        device: text(row, "device"),
        claimedAtMs: integer(row, "claimedAtMs"),
      };
  }

  /** Every refused claim, ordered by the packet that its token names (for forged ones: says it is). */
  *rejections(): Generator<RejectionRow> {
    const sql = `SELECT epoch, shard, serial, claim, reason, detail, cents, ad, user, device,
                 claimed_at_ms AS claimedAtMs FROM rejection ORDER BY epoch, shard, serial, claim`;
    for (const row of this.query(sql))
      yield {
        epoch: integer(row, "epoch"),
        shard: integer(row, "shard"),
        serial: integer(row, "serial"),
        claim: blob(row, "claim", 32),
        reason: reasonOf(row),
        detail: text(row, "detail"),
        ...(row["cents"] !== null && { cents: integer(row, "cents"), ad: integer(row, "ad") }),
        user: text(row, "user"),
        device: text(row, "device"),
        claimedAtMs: integer(row, "claimedAtMs"),
      };
  }

  /** True if this very claim was refused; its token names the packet. */
  hasRejection({ epoch, shard, serial }: PacketId, claim: Buffer): boolean {
    try {
      this.rejected ??= this.db.prepare(
        "SELECT 1 FROM rejection WHERE epoch = ? AND shard = ? AND serial = ? AND claim = ?",
      );
      return this.rejected.get(epoch, shard, serial, claim) !== undefined;
    } catch (cause) {
      throw ledgerError(cause, this.path);
    }
  }

  postingTotals(): { debitCents: number; creditCents: number } {
    return postingTotals((sql) => this.query(sql));
  }

  /** Packets whose postings are not their credit's (0-0-0: the funding), in packet order. */
  postingFaults(): Generator<PostingFault> {
    return postingFaults((sql) => this.query(sql));
  }

  /** Accounts whose balance is not the sum of their postings. */
  balanceFaults(): Generator<BalanceFault> {
    return balanceFaults((sql) => this.query(sql));
  }

  /**
   * SQLite's own check of the file: reads all of it. Of the constraints it holds only types and NOT NULL against
   * the rows, for on a connection that only reads SQLite does not know the CHECKs.
   * @returns at most 20 faults
   */
  *integrityFaults(): Generator<string> {
    for (const row of this.query(`PRAGMA quick_check(${INTEGRITY_FAULTS_MAX})`)) {
      const fault = text(row, "quick_check");
      if (fault !== "ok") yield fault;
    }
  }

  close(): void {
    this.db.close();
  }

  private *query(sql: string): Generator<Row> {
    try {
      yield* this.db.prepare<[], Row>(sql).iterate();
    } catch (cause) {
      throw ledgerError(cause, this.path);
    }
  }
}

function reasonOf(row: Row): RejectionReason {
  const reason = text(row, "reason");
  switch (reason) {
    case "forged":
    case "unknown-token":
    case "double-claim":
    case "over-quota":
      return reason;
    default:
      throw new HongbaoError("corrupt_ledger", `the ledger holds a rejection for an unknown reason`);
  }
}

function noLedger(path: string): HongbaoError {
  return new HongbaoError(
    "missing_file",
    `there is no ledger at ${path}: no credit worker has run for this campaign, or LEDGER_URL names another place`,
  );
}
