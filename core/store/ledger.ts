/**
 * The ledger: the one place where money moves. Every claim is answered once, for good, under its packet's ID
 * (a credit) or its own hash (a rejection); answering it again changes nothing. First commit wins.
 *
 * A call of `record` is one transaction: all postings, balances, rejections and the journal's pin, or nothing.
 * When it has returned, they are on disk. It trusts its caller to have opened and checked the tokens; quota,
 * escrow and double entry it holds itself.
 */
import { type Stats, statSync } from "node:fs";
import type { Transaction } from "better-sqlite3";
import type { JournalRange } from "../format/claim-batch.ts";
import { HongbaoError, invariant } from "../format/error.ts";
import { addCents, cents } from "../format/money.ts";
import { readTokenNonce } from "../format/token.ts";
import type { LedgerAddress } from "./ledger-address.ts";
import {
  type AuthenticClaim,
  type CheckedClaim,
  type ClaimOutcome,
  claimHash,
  type RefusedClaim,
  type RejectionReason,
} from "./ledger-claim.ts";
import { ledgerError } from "./ledger-error.ts";
import { type LedgerFile, openLedgerFile } from "./ledger-file.ts";
import { ESCROW, type LedgerPin } from "./ledger-schema.ts";
import { type CreditedBefore, prepareStatements, type Statements } from "./ledger-statements.ts";
import type { ManifestFile } from "./manifest-file.ts";

/** A rejection keeps what it was given, but a thief's batch must not fill the disk. */
const REJECTION_TEXT_CHARS_MAX = 128;

/**
 * Opens the books of exactly this manifest; a file that does not exist yet is made and funded.
 *
 * @throws HongbaoError `ledger_mismatch`, `ledger_unavailable` (see `isLedgerLocked`), `corrupt_ledger`
 */
export async function openLedger(address: LedgerAddress, file: ManifestFile): Promise<Ledger> {
  const opened = await openLedgerFile(address.path, file);
  try {
    return new Ledger(opened, address.path, file);
  } catch (cause) {
    opened.db.close();
    throw ledgerError(cause, address.path);
  }
}

type Recorded = ClaimOutcome[] | "wrong-journal";
type Apply = (
  shard: number,
  journalId: Uint8Array,
  claims: readonly CheckedClaim[],
  range: JournalRange | undefined,
) => Recorded;

export class Ledger {
  readonly pin: LedgerPin;
  readonly path: string;
  /** True if this opening made the file: worth a warning, for it may have been expected to exist. */
  readonly wasCreated: boolean;
  private readonly db: LedgerFile["db"];
  private readonly inode: Stats;
  private readonly quota: { readonly perUser: number; readonly perAd: number };
  private readonly sql: Statements;
  private readonly transaction: Transaction<Apply>;

  constructor({ db, pin, wasCreated }: LedgerFile, path: string, file: ManifestFile) {
    this.db = db;
    this.pin = pin;
    this.path = path;
    this.wasCreated = wasCreated;
    this.inode = statSync(path);
    this.quota = file.manifest.quota;
    this.sql = prepareStatements(db);
    this.transaction = db.transaction<Apply>((...slice) => this.apply(...slice));
  }

  /**
   * Answers claims of one shard, in order, in one transaction; durable when it returns.
   *
   * @param journalId 16 bytes; the shard's first call pins it
   * @param range the journal range that these claims complete: one that leaves no gap moves `settledUpTo`
   * @returns one outcome a claim, or "wrong-journal" (nothing done) if the shard belongs to another journal
   * @throws HongbaoError `ledger_unavailable` (see `isLedgerLocked`), `corrupt_ledger`; nothing was done
   */
  record(
    shard: number,
    journalId: Uint8Array,
    claims: readonly CheckedClaim[],
    range?: JournalRange,
  ): Recorded {
    try {
      this.holdFile();
      // If we die before the commit, nothing happened and the batch comes again; if we die behind it, the
      // batch comes again and finds its answers.
      return this.transaction.immediate(shard, journalId, claims, range);
    } catch (cause) {
      throw ledgerError(cause, this.path);
    }
  }

  close(): void {
    this.db.close();
  }

  /** Stream offset of the shard's journal below which every claim has its answer in this ledger. */
  settledUpTo(shard: number): number {
    try {
      return this.sql.settledUpTo.get(shard) ?? 0;
    } catch (cause) {
      throw ledgerError(cause, this.path);
    }
  }

  private apply(
    shard: number,
    journalId: Uint8Array,
    claims: readonly CheckedClaim[],
    range: JournalRange | undefined,
  ): Recorded {
    if (!this.holdsJournal(shard, journalId)) return "wrong-journal";
    let dueCents = cents(0);
    let created = 0;
    const outcomes = claims.map((claim) => {
      if (claim.verdict === "refused") return this.refuse(claim);
      const outcome = this.settle(shard, claim);
      if (outcome === "created") {
        dueCents = addCents(dueCents, cents(claim.cents));
        created++;
      }
      return outcome;
    });
    if (created > 0) this.debitEscrow(dueCents, created);
    if (range && range.to > range.from) this.advance(shard, range);
    return outcomes;
  }

  /** Batches come in any order: a range beyond a gap waits for those that close it. */
  private advance(shard: number, { from, to }: JournalRange): void {
    const before = this.sql.settledUpTo.get(shard);
    invariant(before !== undefined, "a shard whose journal is pinned says how far it is settled");
    if (from > before) {
      this.sql.insertAhead.run(shard, from, to);
      return;
    }
    let upTo: number;
    let ahead = Math.max(before, to);
    do {
      upTo = ahead;
      ahead = this.sql.aheadUpTo.get(shard, upTo) ?? upTo;
    } while (ahead > upTo);
    this.sql.deleteAhead.run(shard, upTo);
    this.sql.settleUpTo.run(upTo, shard);
  }

  private holdsJournal(shard: number, journalId: Uint8Array): boolean {
    const pinned = this.sql.journal.get(shard);
    if (pinned !== undefined) return pinned.equals(journalId);
    // One journal serves one shard: one that is pinned to another shard is not taken a second time.
    return this.sql.pinJournal.run(shard, journalId).changes === 1;
  }

  /** Credits are never taken back, so what was over quota or came too late once stays so on every replay. */
  private settle(shard: number, { claim, serial, cents, ad }: AuthenticClaim): ClaimOutcome {
    const packet = { claim, epoch: this.pin.epoch, shard, serial, cents, ad };
    const before = this.sql.credit.get(packet.epoch, shard, serial);
    if (before !== undefined) {
      const difference = differs(before, packet);
      return difference === undefined ? "exists" : this.reject(packet, "double-claim", difference);
    }
    const won = this.sql.wonBy.get(ad, claim.user);
    invariant(won !== undefined, "a count has a row");
    if (won.packets >= this.quota.perUser) return this.reject(packet, "over-quota", "user");
    if (won.ofAd >= this.quota.perAd) return this.reject(packet, "over-quota", "ad");
    this.pay(packet);
    return "created";
  }

  /** The escrow's side of the balances follows once for the whole transaction. */
  private pay({ claim, epoch, shard, serial, cents, ad }: OpenedPacket): void {
    const { user, device, atMs } = claim;
    const wallet = this.sql.payWallet.get(user, cents);
    invariant(wallet !== undefined, "a paid wallet has an account");
    this.sql.insertCredit.run(epoch, shard, serial, cents, ad, user, device, atMs);
    this.sql.insertPosting.run(epoch, shard, serial, "debit", ESCROW, cents);
    this.sql.insertPosting.run(epoch, shard, serial, "credit", wallet, cents);
  }

  private debitEscrow(dueCents: number, created: number): void {
    // If the escrow's account is gone as well, it holds nothing.
    const heldCents = this.sql.escrowCents.get() ?? 0;
    if (dueCents > heldCents)
      throw new HongbaoError(
        "corrupt_ledger",
        `the escrow of the ledger ${this.path} holds ${heldCents} cents, but ${dueCents} are due: more was ` +
          "credited than was minted; stop crediting and run `hongbao reconcile`",
      );
    this.sql.debitEscrow.run(dueCents, created);
  }

  /** What a refused token says of itself is not true, but says where to look. */
  private refuse({ claim, reason, detail }: RefusedClaim): ClaimOutcome {
    return this.reject({ claim, ...readTokenNonce(claim.token), cents: null, ad: null }, reason, detail);
  }

  private reject(packet: RejectedPacket, reason: RejectionReason, detail: string): ClaimOutcome {
    const { claim, epoch, shard, serial, cents, ad } = packet;
    const { changes } = this.sql.insertRejection.run(
      epoch,
      shard,
      serial,
      claimHash(claim),
      reason,
      detail,
      cents,
      ad,
      claim.user.slice(0, REJECTION_TEXT_CHARS_MAX),
      claim.device.slice(0, REJECTION_TEXT_CHARS_MAX),
      claim.atMs,
    );
    if (changes === 0) return "exists";
    return reason === "double-claim" ? "conflict" : "rejected";
  }

  /** Commits into a file that was removed or replaced beneath us would be acknowledged and lost. */
  private holdFile(): void {
    const now = statSync(this.path, { throwIfNoEntry: false });
    if (now?.ino === this.inode.ino && now.dev === this.inode.dev) return;
    throw new HongbaoError(
      "ledger_unavailable",
      `the ledger ${this.path} was removed or replaced while in use: start again with what lies there now`,
    );
  }
}

interface RejectedPacket {
  readonly claim: AuthenticClaim["claim"];
  readonly epoch: number;
  readonly shard: number;
  readonly serial: number;
  /** null unless the token was authentic */
  readonly cents: number | null;
  readonly ad: number | null;
}

type OpenedPacket = RejectedPacket & { readonly cents: number; readonly ad: number };

/** @returns what the earlier credit of this packet has otherwise, or undefined if it is this very claim's. */
function differs(before: CreditedBefore, { claim, cents, ad }: OpenedPacket): string | undefined {
  // One packet with two amounts: the settlement key is abused, or the ledger was changed.
  if (before.cents !== cents || before.ad !== ad) return "amount";
  if (before.user !== claim.user) return "user";
  return before.device === claim.device ? undefined : "device";
}
