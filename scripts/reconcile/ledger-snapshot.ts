/**
 * The ledger of one mint as a reconciliation reads it: a snapshot, taken before any journal is opened. What it
 * credits was durable in a journal before that, so journals read later can lack nothing that they should have,
 * even while the show runs.
 *
 * Rows come in packet order and are dealt to the shards as they are reached: nothing is kept. A damaged ledger
 * is a finding, and yields what could be read of it.
 */
import { HongbaoError } from "../../core/format/error.ts";
import { formatCents } from "../../core/format/money.ts";
import type { PacketId } from "../../core/format/packet.ts";
import { parseLedgerAddress } from "../../core/store/ledger-address.ts";
import type { PostingFault } from "../../core/store/ledger-audit.ts";
import {
  type CreditRow,
  type LedgerReader,
  type RejectionRow,
  readLedger,
} from "../../core/store/ledger-reader.ts";
import { holdPin, type LedgerPin } from "../../core/store/ledger-schema.ts";
import type { ManifestFile } from "../../core/store/manifest-file.ts";
import type { Findings } from "./findings.ts";

export class LedgerSnapshot {
  readonly path: string;
  readonly pin: LedgerPin | undefined;
  readonly pins: ReadonlyMap<number, Buffer>;
  readonly credits: Rows<CreditRow>;
  readonly rejections: Rows<RejectionRow>;
  readonly postingFaults: Rows<PostingFault>;
  private readonly reader: LedgerReader | undefined;
  private readonly findings: Findings;
  private readonly said = new Set<string>();

  /**
   * @param ownPath the campaign's own ledger, used when `url` is unset
   * @throws HongbaoError `ledger_mismatch`, `ledger_unavailable`, `invalid_ledger_url`
   */
  constructor(url: string | undefined, ownPath: string, file: ManifestFile, findings: Findings) {
    this.findings = findings;
    this.path = parseLedgerAddress(url, ownPath).path;
    this.reader = this.guard(() => openReader(this.path, file));
    this.pin = this.reader?.pin;
    this.pins = this.guard(() => this.reader?.journals()) ?? new Map();
    this.credits = new Rows(this.guarded(() => this.reader?.credits()));
    this.rejections = new Rows(this.guarded(() => this.reader?.rejections()));
    this.postingFaults = new Rows(this.guarded(() => this.reader?.postingFaults()));
  }

  /** The books' own proofs: the file is whole, debits are credits, every balance is its postings' sum. */
  totals(budget: { packets: number; cents: number }): { debitCents: number; creditCents: number } {
    const none = { debitCents: 0, creditCents: 0 };
    for (const fault of this.guarded(() => this.reader?.integrityFaults()))
      this.findings.add("corrupt", undefined, `the ledger ${this.path} is damaged: ${fault}`);
    const { pin } = this;
    if (pin && (pin.packets !== budget.packets || pin.budgetCents !== budget.cents))
      this.mismatch(
        `is funded with ${formatCents(pin.budgetCents)}, the manifest says ${formatCents(budget.cents)}`,
      );
    for (const { kind, owner, balanceCents, postedCents } of this.guarded(() => this.reader?.balanceFaults()))
      this.mismatch(
        `says that ${kind} ${owner} has ${formatCents(balanceCents)}, the postings add up to ${formatCents(postedCents)}`,
      );
    const totals = this.guard(() => this.reader?.postingTotals()) ?? none;
    if (totals.debitCents !== totals.creditCents)
      this.mismatch(
        `debits ${formatCents(totals.debitCents)} and credits ${formatCents(totals.creditCents)}: they must be equal`,
      );
    return totals;
  }

  /** True if the ledger has refused this very claim: its own row tells of it. */
  hasRejection(packet: PacketId, claim: Buffer): boolean {
    return this.guard(() => this.reader?.hasRejection(packet, claim)) ?? false;
  }

  close(): void {
    // A statement that is still being read would keep SQLite from closing.
    for (const rows of [this.credits, this.rejections, this.postingFaults]) rows.close();
    this.reader?.close();
  }

  private mismatch(detail: string): void {
    this.findings.add("amount-mismatch", undefined, `the ledger ${detail}`);
  }

  private *guarded<T>(rows: () => Iterable<T> | undefined): Generator<T> {
    try {
      yield* rows() ?? [];
    } catch (error) {
      this.damaged(error);
    }
  }

  private guard<T>(read: () => T | undefined): T | undefined {
    try {
      return read();
    } catch (error) {
      this.damaged(error);
      return undefined;
    }
  }

  /** Damage is told once, however often it is met; every other failure ends the program. */
  private damaged(error: unknown): void {
    if (!(error instanceof HongbaoError) || error.code !== "corrupt_ledger") throw error;
    if (!this.said.has(error.message)) this.findings.add("corrupt", undefined, error.message);
    this.said.add(error.message);
  }
}

function openReader(path: string, file: ManifestFile): LedgerReader | undefined {
  let reader: LedgerReader;
  try {
    reader = readLedger(path);
  } catch (error) {
    // Nothing was credited yet.
    if (error instanceof HongbaoError && error.code === "missing_file") return undefined;
    throw error;
  }
  try {
    holdPin(reader.pin, file, path);
    return reader;
  } catch (error) {
    reader.close();
    throw error;
  }
}

/** Rows in packet order, taken shard by shard. */
export class Rows<T extends PacketId> {
  private readonly rows: Generator<T, void>;
  private next: T | undefined;

  constructor(rows: Generator<T, void>) {
    this.rows = rows;
  }

  /** The rows in front of a shard: none of the mint's own packets, if all shards before were taken. */
  *before(epoch: number, shard: number): Generator<T> {
    for (let row = this.peek(); row !== undefined; row = this.peek()) {
      if (row.epoch > epoch || (row.epoch === epoch && row.shard >= shard)) return;
      this.next = undefined;
      yield row;
    }
  }

  /** The shard's own rows. */
  *of(epoch: number, shard: number): Generator<T> {
    for (let row = this.peek(); row?.epoch === epoch && row.shard === shard; row = this.peek()) {
      this.next = undefined;
      yield row;
    }
  }

  close(): void {
    this.rows.return();
  }

  private peek(): T | undefined {
    if (this.next === undefined) {
      const { done, value } = this.rows.next();
      if (!done) this.next = value;
    }
    return this.next;
  }
}
