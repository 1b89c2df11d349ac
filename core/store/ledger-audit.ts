/**
 * The proofs of double entry over a whole ledger, whatever its constraints may say: what is credited was
 * debited from the escrow and given to the right wallet, and each balance is the sum of its postings.
 *
 * Postings and credits are read side by side in packet order, so memory does not grow with the ledger; with
 * the primary keys in place nothing is sorted, without them SQLite sorts.
 */
import type { PacketId } from "../format/packet.ts";
import { integer, type Row, text } from "./ledger-row.ts";

/** A packet whose postings are not exactly its credit's; packet 0-0-0 is the funding of the escrow. */
export interface PostingFault extends PacketId {
  readonly creditedCents: number;
  readonly debitCents: number;
  readonly creditCents: number;
  readonly detail: string;
}

export interface BalanceFault {
  readonly kind: string;
  readonly owner: string;
  readonly balanceCents: number;
  readonly postedCents: number;
}

/** Runs a query and streams its rows; the ledger's reader gives it. */
export type Query = (sql: string) => Iterable<Row>;

export function postingTotals(query: Query): { debitCents: number; creditCents: number } {
  const totals = { debitCents: 0, creditCents: 0 };
  for (const row of query("SELECT side, sum(cents) AS cents FROM posting GROUP BY side"))
    totals[text(row, "side") === "debit" ? "debitCents" : "creditCents"] += integer(row, "cents");
  return totals;
}

/** What is due (a packet's credit, the budget) first, then what was posted, packet by packet. */
const POSTINGS = `
  SELECT 0 AS epoch, 0 AS shard, 0 AS serial, 'due' AS side, budget_cents AS cents,
         'escrow' AS kind, campaign AS owner FROM ledger
  UNION ALL
  SELECT epoch, shard, serial, 'due', cents, 'wallet', user FROM credit
  UNION ALL
  SELECT posting.epoch, posting.shard, posting.serial, posting.side, posting.cents,
         coalesce(account.kind, 'none'), coalesce(account.owner, '')
  FROM posting LEFT JOIN account ON account.account = posting.account
  ORDER BY epoch, shard, serial`;

export function* postingFaults(query: Query): Generator<PostingFault> {
  let packet: PostedPacket | undefined;
  for (const row of query(POSTINGS)) {
    const id = { epoch: integer(row, "epoch"), shard: integer(row, "shard"), serial: integer(row, "serial") };
    if (packet === undefined || !packet.is(id)) {
      if (packet?.fault) yield packet.fault;
      packet = new PostedPacket(id);
    }
    packet.add(text(row, "side"), integer(row, "cents"), text(row, "kind"), text(row, "owner"));
  }
  if (packet?.fault) yield packet.fault;
}

class PostedPacket {
  private readonly id: PacketId;
  private dueCents = 0;
  private debitCents = 0;
  private creditCents = 0;
  /** Per account: what should have gone there less what went there. */
  private readonly missingCents = new Map<string, number>();

  constructor(id: PacketId) {
    this.id = id;
  }

  is(id: PacketId): boolean {
    return this.id.epoch === id.epoch && this.id.shard === id.shard && this.id.serial === id.serial;
  }

  add(side: string, cents: number, kind: string, owner: string): void {
    if (side === "due") {
      this.dueCents += cents;
      this.miss(`${kind} ${owner}`, cents);
      this.miss(kind === "wallet" ? "from escrow" : "from sponsor", cents);
    } else if (side === "debit") {
      this.debitCents += cents;
      this.miss(`from ${kind}`, -cents);
    } else {
      this.creditCents += cents;
      this.miss(`${kind} ${owner}`, -cents);
    }
  }

  get fault(): PostingFault | undefined {
    if ([...this.missingCents.values()].every((cents) => cents === 0)) return undefined;
    const { dueCents, debitCents, creditCents } = this;
    const detail =
      dueCents === debitCents && dueCents === creditCents
        ? "its postings stand on other accounts than its credit"
        : `credited ${dueCents} cents, debited ${debitCents}, posted to wallets ${creditCents}`;
    return { ...this.id, creditedCents: dueCents, debitCents, creditCents, detail };
  }

  private miss(account: string, cents: number): void {
    this.missingCents.set(account, (this.missingCents.get(account) ?? 0) + cents);
  }
}

const BALANCES = `
  SELECT coalesce(max(kind), 'none') AS kind, coalesce(max(owner), '') AS owner,
         sum(balance) AS balanceCents, sum(posted) AS postedCents
  FROM (
    SELECT account, kind, owner, balance_cents AS balance, 0 AS posted FROM account
    UNION ALL
    SELECT account, NULL, NULL, 0, CASE side WHEN 'credit' THEN cents ELSE -cents END FROM posting
  )
  GROUP BY account HAVING sum(balance) <> sum(posted)
  ORDER BY account`;

/** Accounts whose stored balance is not the sum of their postings; kind "none" for an account that is gone. */
export function* balanceFaults(query: Query): Generator<BalanceFault> {
  for (const row of query(BALANCES))
    yield {
      kind: text(row, "kind"),
      owner: text(row, "owner"),
      balanceCents: integer(row, "balanceCents"),
      postedCents: integer(row, "postedCents"),
    };
}
