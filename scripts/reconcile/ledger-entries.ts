/**
 * Holds the ledger's rows of one shard against its books, which know by now what was sealed and what the journal
 * says. A credit is right if it is the packet's only one, has the sealed cents and ad, and pays the holder who
 * opened it. Whatever else is credited is a finding, and still counts as credited: the money has moved.
 */
import { formatCents } from "../../core/format/money.ts";
import type { PacketId } from "../../core/format/packet.ts";
import type { PostingFault } from "../../core/store/ledger-audit.ts";
import type { CreditRow, RejectionRow } from "../../core/store/ledger-reader.ts";
import type { FindingClass, Findings } from "./findings.ts";
import type { HolderHash } from "./holder.ts";
import { REASONS } from "./refused-claims.ts";
import type { ShardBooks } from "./shard-books.ts";

interface Fault {
  readonly class: FindingClass;
  readonly detail: string;
}

/** Why a shard's journal cannot be asked for a record: one finding for all of them, not one a packet. */
export type JournalGap = Extract<FindingClass, "missing-journal" | "corrupt">;

export class LedgerEntries {
  private readonly books: ShardBooks;
  private readonly findings: Findings;
  private readonly holder: HolderHash;
  private readonly gap: JournalGap | undefined;
  private readonly unrecorded = { packets: 0, cents: 0 };

  constructor(books: ShardBooks, findings: Findings, holder: HolderHash, gap: JournalGap | undefined) {
    this.books = books;
    this.findings = findings;
    this.holder = holder;
    this.gap = gap;
  }

  credit(row: CreditRow): void {
    const place = this.books.find(row.serial);
    const fault = place === undefined ? this.unknown(row) : this.faultOf(place, row);
    if (place !== undefined) this.books.mark(place, "credited");
    if (fault === undefined) return;
    this.findings.add(fault.class, row, fault.detail);
    if (place !== undefined) this.books.mark(place, "faulty");
  }

  rejection(row: RejectionRow): void {
    const { books } = this;
    reportRejection(row, this.findings);
    // Only a quota ends a packet's way: a forgery, or somebody else's attempt, says nothing about the packet.
    const place = row.reason === "over-quota" ? books.find(row.serial) : undefined;
    if (place !== undefined && books.holderOf(place) === this.holder(row.user, row.device))
      books.mark(place, "rejected");
  }

  /** Postings that are not their credit's. A credit that is a finding already explains its postings. */
  posting(fault: PostingFault): void {
    const place = this.books.find(fault.serial);
    if (place !== undefined && this.books.was(place, "faulty")) return;
    reportPosting(fault, this.findings, place !== undefined && this.books.was(place, "claimed"));
  }

  /** To be called behind the last row. */
  close(): void {
    const { packets, cents } = this.unrecorded;
    if (this.gap === undefined || packets === 0) return;
    const detail = `shard ${this.books.shard}: its journal cannot speak for ${packets} credits, ${formatCents(cents)}`;
    this.findings.add(this.gap, undefined, detail);
  }

  private unknown(row: CreditRow): Fault | undefined {
    // Behind damaged seeds and without the journal, nobody can say which packets there are.
    return this.gap === undefined || this.books.isComplete ? unknownPacket(row) : this.leaveOpen(row);
  }

  private faultOf(place: number, row: CreditRow): Fault | undefined {
    const { books } = this;
    if (books.was(place, "credited"))
      return {
        class: "credited-twice",
        detail: `credited again: ${formatCents(row.cents)} to user ${row.user}`,
      };
    const ad = books.adOf(place);
    const sealed = books.was(place, "sealed") ? books.centsOf(place) : row.cents;
    if (row.cents !== sealed)
      return {
        class: "amount-mismatch",
        detail: `credited ${formatCents(row.cents)}, sealed ${formatCents(sealed)}`,
      };
    if (row.ad !== ad)
      return { class: "amount-mismatch", detail: `credited for ad ${row.ad}, sealed for ad ${ad}` };
    return this.recordFault(place, row);
  }

  private recordFault(place: number, row: CreditRow): Fault | undefined {
    const { books } = this;
    const isOut = books.was(place, "issued") || books.was(place, "burned");
    const isHolder = books.holderOf(place) === this.holder(row.user, row.device);
    if (isOut && isHolder && books.was(place, "claimed")) return undefined;
    if (this.gap !== undefined) return this.leaveOpen(row);
    const to = `${formatCents(row.cents)} credited to user ${row.user} on ${row.device}`;
    if (!isOut) return { class: "credited-unissued", detail: `${to}, never handed out` };
    if (!isHolder && books.holderOf(place) !== 0)
      return { class: "credited-other", detail: `${to}, who does not hold it` };
    return { class: "credited-unissued", detail: `${to}, never opened` };
  }

  private leaveOpen(row: CreditRow): undefined {
    this.unrecorded.packets++;
    this.unrecorded.cents += row.cents;
  }
}

/** A credit of a packet that no seed file holds. */
export function unknownPacket(row: CreditRow): Fault {
  return {
    class: "credited-unissued",
    detail: `${formatCents(row.cents)} credited to user ${row.user} on ${row.device}, but this mint has no such packet`,
  };
}

export function reportRejection(row: RejectionRow, findings: Findings): void {
  findings.add(
    row.reason,
    row,
    `${REASONS[row.reason]}, by user ${row.user} on ${row.device} (${row.detail})`,
  );
}

/** @param wasOpened the journal says that somebody may be paid for this packet */
export function reportPosting(fault: PostingFault, findings: Findings, wasOpened: boolean): void {
  const { creditedCents: due, debitCents, creditCents } = fault;
  const isFunding = fault.epoch === 0;
  const packet: PacketId | undefined = isFunding ? undefined : fault;
  const posted = `its postings debit ${formatCents(debitCents)} and credit ${formatCents(creditCents)}`;
  if (isFunding)
    findings.add("amount-mismatch", packet, `the ledger's funding of the escrow is wrong: ${fault.detail}`);
  else if (due === 0)
    findings.add(
      wasOpened ? "amount-mismatch" : "credited-unissued",
      packet,
      `${posted}, though the ledger has no credit for it`,
    );
  else if (debitCents === 2 * due && creditCents === 2 * due)
    findings.add("credited-twice", packet, `credited once, but ${posted}`);
  else findings.add("amount-mismatch", packet, `credited ${formatCents(due)}: ${fault.detail}`);
}
