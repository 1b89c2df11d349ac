/**
 * What a reconciliation has to say about single packets, journals and files. A class either unbalances the books
 * (money may be in the wrong place, or the record that would prove it is not) or is only reported.
 *
 * Every finding is counted. At most `LISTED_MAX` of a class are kept, so that a ledger full of refused attempts
 * costs a counter and not the memory. Order of arrival is the inputs' own order, so equal inputs list the same.
 */
import { formatPacket, type PacketId } from "../../core/format/packet.ts";

const UNBALANCING = [
  /** A file is damaged or contradicts another: its facts cannot be had. */
  "corrupt",
  /** A shard was started and its journal is not here. */
  "missing-journal",
  /** Journals tell of a ledger, and none is here. */
  "missing-ledger",
  /** The ledger, a posting or a seed file has other cents than the sealed token (or debits are not credits). */
  "amount-mismatch",
  "credited-twice",
  /** Credited, though no journal says that the packet was handed out and opened. */
  "credited-unissued",
  /** Credited to somebody else than the journal says. */
  "credited-other",
  /** One packet was handed out twice. */
  "issued-twice",
] as const;

const REPORTED = [
  "forged",
  "unknown-token",
  "double-claim",
  "over-quota",
  "opened-uncredited",
  "issued-unopened",
] as const;

export const CLASSES = [...UNBALANCING, ...REPORTED];
export type FindingClass = (typeof CLASSES)[number];

/** Findings of one class that are listed; the rest is counted. */
export const LISTED_MAX = 10_000;

export interface Finding {
  readonly class: FindingClass;
  /** "epoch-shard-serial", or null where no single packet is meant. */
  readonly packet: string | null;
  readonly detail: string;
}

export function isUnbalancing(name: FindingClass): boolean {
  return UNBALANCING.some((known) => known === name);
}

export class Findings {
  private readonly byClass = new Map<FindingClass, { counted: number; listed: Finding[] }>(
    CLASSES.map((name) => [name, { counted: 0, listed: [] }]),
  );

  /** @param packet the packet that is meant, if it is one */
  add(name: FindingClass, packet: PacketId | undefined, detail: string): void {
    const entry = this.byClass.get(name);
    if (entry === undefined) return;
    entry.counted++;
    if (entry.listed.length >= LISTED_MAX) return;
    entry.listed.push({ class: name, packet: packet ? formatPacket(packet) : null, detail });
  }

  /** All that are listed: class by class, the grave ones first. */
  get list(): Finding[] {
    return [...this.byClass.values()].flatMap(({ listed }) => listed);
  }

  /** How many there are of each class that occurs, listed or not. */
  get counts(): Partial<Record<FindingClass, number>> {
    const found = [...this.byClass].filter(([, { counted }]) => counted > 0);
    return Object.fromEntries(found.map(([name, { counted }]) => [name, counted]));
  }

  get unbalancing(): number {
    return UNBALANCING.reduce((sum, name) => sum + (this.byClass.get(name)?.counted ?? 0), 0);
  }
}
