/**
 * Batch in, acknowledgement out. A batch is authentic or dropped, never half believed; of an authentic batch
 * every claim is answered in the ledger, credited or refused, before the acknowledgement is made: it is the
 * node's licence to forget.
 *
 * Trusts the settlement key and the manifest; not the queue, not the node beyond "this batch is its own".
 */
import type { Logger } from "pino";
import type { Claim } from "../../core/format/claim.ts";
import {
  ANY_LEDGER,
  batchHash,
  decodeBatch,
  encodeAck,
  type JournalRange,
  peekBatch,
} from "../../core/format/claim-batch.ts";
import type { CheckedClaim, ClaimOutcome } from "../../core/store/ledger-claim.ts";
import type { Books } from "./books.ts";
import type { Clock } from "./clock.ts";
import type { Pace } from "./pace.ts";
import { whileLocked } from "./patience.ts";

/** not-ours: of no campaign, epoch or shard of this manifest; forged: not under the shard's wire key. */
export type DropReason = "not-ours" | "forged" | "wrong-journal";

/** "refused": the shard has another journal in this ledger; the node is told so. */
export type CreditAnswer =
  | { readonly outcome: "acknowledged" | "refused"; readonly ack: Uint8Array }
  | { readonly outcome: "dropped"; readonly why: DropReason };

/** How claims were answered: disjoint, together all claims of acknowledged batches. */
export type Tally = Record<ClaimOutcome, number>;

export interface CreditStats extends Tally {
  batches: number;
  dropped: Record<DropReason, number>;
  /** Cents credited by this process. */
  cents: number;
  /** Tokens sealed with a stolen node key; also counted as rejected. */
  badChecksums: number;
}

export interface CreditWorld {
  readonly pace: Pace;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Crediting {
  readonly stats: CreditStats = {
    ...emptyTally(),
    batches: 0,
    dropped: { "not-ours": 0, forged: 0, "wrong-journal": 0 },
    cents: 0,
    badChecksums: 0,
  };
  private readonly books: Books;
  private readonly world: CreditWorld;

  constructor(books: Books, world: CreditWorld) {
    this.books = books;
    this.world = world;
  }

  /**
   * @returns the acknowledgement, or why there is none (the node sends again what it is not acknowledged)
   * @throws HongbaoError `ledger_unavailable`, `corrupt_ledger`: stop, do not go on crediting
   */
  async credit(bytes: Uint8Array): Promise<CreditAnswer> {
    const { checker, ledger } = this.books;
    const range = peekBatch(bytes);
    if (range === undefined || !checker.covers(range)) return this.drop("not-ours");
    const wireKey = checker.wireKey(range.shard);
    const batch = decodeBatch(wireKey, bytes);
    if (batch === undefined) return this.drop("forged", range.shard);
    const isForUs =
      ledger.pin.ledgerId.equals(batch.forLedger) || Buffer.from(ANY_LEDGER).equals(batch.forLedger);
    // A batch for another ledger is answered with this one's name, and nothing of it is credited.
    const claims = isForUs ? batch.claims : [];
    const tally = await this.settle(batch.shard, batch.journalId, claims, isForUs ? batch : undefined);
    if (tally === "wrong-journal") this.warnOf("wrong-journal", batch.shard);
    else if (isForUs) this.stats.batches++;
    // If we die here, the claims are settled and unacknowledged: the batch comes again and finds "exists".
    const ack = {
      ...batch,
      ledgerId: ledger.pin.ledgerId,
      batchHash: batchHash(bytes),
      standing: tally === "wrong-journal" ? ("other-journal" as const) : ("own-journal" as const),
      settledUpTo: tally === "wrong-journal" ? 0 : ledger.settledUpTo(batch.shard),
    };
    return { outcome: tally === "wrong-journal" ? "refused" : "acknowledged", ack: encodeAck(wireKey, ack) };
  }

  /** Claims of one shard's journal into the ledger, in slices at the pace. Settling them again is harmless. */
  async settle(
    shard: number,
    journalId: Uint8Array,
    claims: readonly Claim[],
    range?: JournalRange,
  ): Promise<Tally | "wrong-journal"> {
    const { pace } = this.world;
    const checked = this.books.checker.check(shard, claims);
    const tally = emptyTally();
    // An empty batch is settled as well: its journal is pinned.
    for (let at = 0; at === 0 || at < checked.length; at += pace.sliceClaims) {
      await pace.ready();
      const slice = checked.slice(at, at + pace.sliceClaims);
      const isLast = at + pace.sliceClaims >= checked.length;
      const outcomes = await this.record(shard, journalId, slice, isLast ? range : undefined);
      if (outcomes === "wrong-journal") return outcomes;
      this.count(shard, slice, outcomes, tally);
    }
    return tally;
  }

  private record(
    shard: number,
    journalId: Uint8Array,
    slice: readonly CheckedClaim[],
    range: JournalRange | undefined,
  ) {
    const { clock, log } = this.world;
    return whileLocked(() => this.books.ledger.record(shard, journalId, slice, range), clock, {
      onLocked: (err) => log.warn({ err }, "the ledger is locked: crediting waits"),
      onFreed: () => log.info("the ledger is free again: crediting goes on"),
    });
  }

  private count(
    shard: number,
    slice: readonly CheckedClaim[],
    outcomes: readonly ClaimOutcome[],
    tally: Tally,
  ): void {
    const { stats } = this;
    let [created, badChecksums] = [0, 0];
    for (const [i, outcome] of outcomes.entries()) {
      const claim = slice[i];
      tally[outcome]++;
      stats[outcome]++;
      if (outcome === "created" && claim?.verdict === "authentic") {
        created++;
        stats.cents += claim.cents;
      }
      // A replayed one is "exists" and has had its alarm.
      if (outcome === "rejected" && claim?.verdict === "refused" && claim.detail === "checksum")
        badChecksums++;
    }
    this.world.pace.charge(created);
    if (badChecksums > 0) this.alarm(shard, badChecksums);
  }

  private alarm(shard: number, badChecksums: number): void {
    this.stats.badChecksums += badChecksums;
    this.world.log.error(
      { shard, badChecksums },
      "tokens were sealed with this shard's node key, but not by the mint: the node key is stolen; none of them is credited",
    );
  }

  private drop(why: DropReason, shard?: number): CreditAnswer {
    this.warnOf(why, shard);
    return { outcome: "dropped", why };
  }

  private warnOf(why: DropReason, shard?: number): void {
    const count = ++this.stats.dropped[why];
    // Anybody who reaches the queue can send such batches: log the 1st, 2nd, 4th, 8th … of a kind.
    if ((count & (count - 1)) === 0)
      this.world.log[why === "wrong-journal" ? "error" : "warn"](
        { why, shard, count },
        "a batch was dropped: nothing of it is credited or acknowledged",
      );
  }
}

export function emptyTally(): Tally {
  return { created: 0, exists: 0, conflict: 0, rejected: 0 };
}
