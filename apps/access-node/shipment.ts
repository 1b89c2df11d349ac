/**
 * A shipment: one batch of claims on its way, with what is needed to send it again and to know its answer.
 */
import type { Claim } from "../../core/format/claim.ts";
import {
  type Acknowledgement,
  type BatchRange,
  batchHash,
  encodeBatch,
} from "../../core/format/claim-batch.ts";
import type { JournalIdentity, JournalReader } from "../../core/store/journal-reader.ts";

/** Claims in one batch: at most 160 kB with the longest names. */
export const BATCH_CLAIMS = 500;

export class Shipment {
  readonly range: BatchRange;
  readonly forLedger: Buffer;
  /** What to send; nothing once it was acknowledged, because it may wait long for those in front of it. */
  bytes: Buffer;
  readonly jobId: string;
  /** Monotonic milliseconds at which it is to be sent, again or for the first time. */
  sendAtMs = 0;
  tries = 0;
  private settled = false;
  private readonly hash: Buffer;

  constructor(range: BatchRange, forLedger: Buffer, bytes: Buffer) {
    this.range = range;
    this.forLedger = forLedger;
    this.bytes = bytes;
    this.hash = Buffer.from(batchHash(bytes));
    const journal = Buffer.from(range.journalId).toString("hex").slice(0, 12);
    const ledger = forLedger.toString("hex").slice(0, 8);
    this.jobId = `s${range.shard}-${journal}-${range.from}-${range.to}-${ledger}`;
  }

  get acknowledged(): boolean {
    return this.settled;
  }

  acknowledge(): void {
    this.settled = true;
    this.bytes = Buffer.alloc(0);
  }

  /** True for an answer to exactly these bytes: an acknowledgement only if it names the ledger they were for. */
  isAnsweredBy(ack: Acknowledgement): boolean {
    const { range } = this;
    return (
      ack.campaignTag === range.campaignTag &&
      ack.epoch === range.epoch &&
      ack.shard === range.shard &&
      Buffer.from(ack.journalId).equals(range.journalId) &&
      ack.from === range.from &&
      ack.to === range.to &&
      this.hash.equals(ack.batchHash)
    );
  }
}

export function sealShipment(
  wireKey: Uint8Array,
  identity: JournalIdentity,
  { from, to, forLedger }: { readonly from: number; readonly to: number; readonly forLedger: Buffer },
  claims: readonly Claim[],
): Shipment {
  const range = { ...identity, from, to };
  return new Shipment(range, forLedger, encodeBatch(wireKey, { ...range, forLedger, claims }));
}

/**
 * An empty batch for a ledger that does not exist: whichever one is there answers with its own name.
 * @param nobody a random name: 16 bytes
 */
export function sealQuestion(
  wireKey: Uint8Array,
  identity: JournalIdentity,
  at: number,
  nobody: Buffer,
): Shipment {
  return sealShipment(wireKey, identity, { from: at, to: at, forLedger: nobody }, []);
}

/** Claims from `from` on that are on the disk, at most a batch full; the reader then stands behind the last. */
export async function collectClaims(
  reader: JournalReader,
  from: number,
  durableOffset: number,
): Promise<Claim[]> {
  const claims: Claim[] = [];
  for await (const { frame } of reader.entries(from, durableOffset)) {
    if (frame.type !== "claim") continue;
    const { token, user, device, atMs } = frame;
    claims.push({ token: Buffer.from(token), user, device, atMs });
    if (claims.length === BATCH_CLAIMS) break;
  }
  return claims;
}
