/**
 * The ledger's rows in plain SQL, read-only, in one snapshot. A ledger whose constraints were dropped is read all
 * the same: what they forbid is for the checker to find.
 */
import { existsSync } from "node:fs";
import Database from "better-sqlite3";

type CreditRow = [
  epoch: number,
  shard: number,
  serial: number,
  cents: number,
  ad: number,
  user: string,
  device: string,
];
type PostingRow = [
  epoch: number,
  shard: number,
  serial: number,
  side: string,
  cents: number,
  kind: string | null,
  owner: string | null,
];
type RejectionRow = [epoch: number, shard: number, serial: number, reason: string, user: string];
type WinningsRow = [user: string, ad: number, packets: number];
type BalanceRow = [kind: string, cents: number];

const BUSY_MS_MAX = 5000;

export class LedgerRows {
  private readonly db: Database.Database | undefined;

  /** A ledger that does not exist yet has no rows. */
  constructor(path: string) {
    if (!existsSync(path)) return;
    this.db = new Database(path, { readonly: true, fileMustExist: true, timeout: BUSY_MS_MAX });
    this.db.exec("BEGIN");
  }

  credits(): Iterable<CreditRow> {
    return this.rows<CreditRow>(
      "SELECT epoch, shard, serial, cents, ad, user, device FROM credit ORDER BY epoch, shard, serial",
    );
  }

  /** The funding's two postings (packet 0-0-0) come with the others. */
  postings(): Iterable<PostingRow> {
    return this.rows<PostingRow>(
      `SELECT epoch, shard, serial, side, cents, kind, owner
       FROM posting LEFT JOIN account USING (account) ORDER BY epoch, shard, serial, side`,
    );
  }

  rejections(): Iterable<RejectionRow> {
    return this.rows<RejectionRow>("SELECT epoch, shard, serial, reason, user FROM rejection");
  }

  /** What each user was paid for, ad by ad. */
  winnings(): Iterable<WinningsRow> {
    return this.rows<WinningsRow>(
      "SELECT user, ad, count(*) FROM credit GROUP BY user, ad ORDER BY user, ad",
    );
  }

  balances(): Iterable<BalanceRow> {
    return this.rows<BalanceRow>("SELECT kind, sum(balance_cents) FROM account GROUP BY kind");
  }

  close(): void {
    this.db?.close();
  }

  private rows<Row>(sql: string): Iterable<Row> {
    // Every column's type is the schema's: the tables are STRICT.
    return this.db === undefined ? [] : (this.db.prepare<[]>(sql).raw().iterate() as Iterable<Row>);
  }
}
