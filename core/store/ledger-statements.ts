/**
 * Every statement with which a ledger is written, prepared once. Their order and meaning are the ledger's; here
 * stands only what each of them says to SQLite.
 */
import type { Database } from "better-sqlite3";
import { ESCROW } from "./ledger-schema.ts";

/** Of a shard. A node has at most 512 batches under way; what is forgotten is only sent again. */
export const RANGES_AHEAD_MAX = 1_024;

export interface CreditedBefore {
  readonly cents: number;
  readonly ad: number;
  readonly user: string;
  readonly device: string;
}

type PacketKey = [epoch: number, shard: number, serial: number];

export type Statements = ReturnType<typeof prepareStatements>;

export function prepareStatements(db: Database) {
  return {
    journal: db.prepare<[shard: number], Buffer>("SELECT journal_id FROM journal WHERE shard = ?").pluck(),
    settledUpTo: db
      .prepare<[shard: number], number>("SELECT settled_up_to FROM journal WHERE shard = ?")
      .pluck(),
    settleUpTo: db.prepare<[upTo: number, shard: number]>(
      "UPDATE journal SET settled_up_to = ? WHERE shard = ?",
    ),
    insertAhead: db.prepare<[shard: number, from: number, to: number]>(
      `INSERT INTO settled_ahead
       SELECT new.* FROM (SELECT ? AS shard, ?, ?) AS new
       WHERE (SELECT count(*) FROM settled_ahead AS old WHERE old.shard = new.shard) < ${RANGES_AHEAD_MAX}
       ON CONFLICT (shard, from_offset) DO UPDATE SET to_offset = max(to_offset, excluded.to_offset)`,
    ),
    /** @returns where the ranges end that touch or overlap what is settled up to an offset, or null */
    aheadUpTo: db
      .prepare<[shard: number, settledUpTo: number], number | null>(
        "SELECT max(to_offset) FROM settled_ahead WHERE shard = ? AND from_offset <= ?",
      )
      .pluck(),
    deleteAhead: db.prepare<[shard: number, settledUpTo: number]>(
      "DELETE FROM settled_ahead WHERE shard = ? AND from_offset <= ?",
    ),
    pinJournal: db.prepare<[shard: number, journalId: Uint8Array]>(
      "INSERT INTO journal (shard, journal_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
    ),
    credit: db.prepare<PacketKey, CreditedBefore>(
      "SELECT cents, ad, user, device FROM credit WHERE epoch = ? AND shard = ? AND serial = ?",
    ),
    wonBy: db.prepare<[ad: number, user: string], { packets: number; ofAd: number }>(
      "SELECT count(*) AS packets, coalesce(sum(ad = ?), 0) AS ofAd FROM credit WHERE user = ?",
    ),
    insertCredit: db.prepare<
      [...PacketKey, cents: number, ad: number, user: string, device: string, claimedAtMs: number]
    >("INSERT INTO credit VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
    insertPosting: db.prepare<[...PacketKey, side: "debit" | "credit", account: number, cents: number]>(
      "INSERT INTO posting VALUES (?, ?, ?, ?, ?, ?)",
    ),
    insertRejection: db.prepare<
      [
        ...PacketKey,
        claim: Buffer,
        reason: string,
        detail: string,
        cents: number | null,
        ad: number | null,
        user: string,
        device: string,
        claimedAtMs: number,
      ]
    >("INSERT INTO rejection VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"),
    /** @returns the wallet's account number */
    payWallet: db
      .prepare<[user: string, cents: number], number>(
        `INSERT INTO account (kind, owner, balance_cents, postings) VALUES ('wallet', ?, ?, 1)
         ON CONFLICT (kind, owner) DO UPDATE
         SET balance_cents = balance_cents + excluded.balance_cents, postings = postings + 1
         RETURNING account`,
      )
      .pluck(),
    escrowCents: db
      .prepare<[], number>(`SELECT balance_cents FROM account WHERE account = ${ESCROW} AND kind = 'escrow'`)
      .pluck(),
    debitEscrow: db.prepare<[cents: number, postings: number]>(
      `UPDATE account SET balance_cents = balance_cents - ?, postings = postings + ? WHERE account = ${ESCROW} AND kind = 'escrow'`,
    ),
  };
}
