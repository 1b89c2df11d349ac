/**
 * Everything a ledger says, row by row, but for its own name: what must be the same in one that was rebuilt from
 * the journals. Accounts go by their owners, not by the numbers that the order of crediting gave them; how far a
 * journal was acknowledged is no entry, and only live crediting knows it.
 */
import Database from "better-sqlite3";

const TABLES: Readonly<Record<string, string>> = {
  ledger: "SELECT campaign, mode, epoch, manifest_hash, packets, budget_cents FROM ledger",
  journal: "SELECT shard, hex(journal_id) FROM journal ORDER BY shard",
  account: "SELECT kind, owner, balance_cents, postings FROM account ORDER BY kind, owner",
  credit: "SELECT * FROM credit ORDER BY epoch, shard, serial",
  posting: `SELECT epoch, shard, serial, side, kind, owner, cents FROM posting JOIN account USING (account)
            ORDER BY epoch, shard, serial, side`,
  rejection: `SELECT epoch, shard, serial, hex(claim), reason, detail, cents, ad, user, device, claimed_at_ms
              FROM rejection ORDER BY epoch, shard, serial, claim`,
};

/** @returns one line a row, with its table */
export function ledgerRows(path: string): string[] {
  const db = new Database(path, { readonly: true, fileMustExist: true });
  try {
    return Object.entries(TABLES).flatMap(([table, sql]) =>
      db
        .prepare(sql)
        .raw()
        .all()
        .map((row) => `${table} ${JSON.stringify(row)}`),
    );
  } finally {
    db.close();
  }
}

/** @returns undefined if they are the same, or the first rows that only one of them has */
export function difference(one: readonly string[], other: readonly string[]): string | undefined {
  const [inOne, inOther] = [new Set(one), new Set(other)];
  const onlyOne = one.filter((row) => !inOther.has(row));
  const onlyOther = other.filter((row) => !inOne.has(row));
  if (onlyOne.length + onlyOther.length === 0 && one.length === other.length) return undefined;
  return `only before: ${onlyOne.slice(0, 2).join(" ")}; only after: ${onlyOther.slice(0, 2).join(" ")}`;
}
