/**
 * Forwarder: carries claims from the journal to the ledger. It reads below the durable offset with the same
 * reader that recovers, sends ranges as authenticated batches, and moves its position over the contiguous
 * prefix of ranges that a ledger acknowledged. The queue's own "accepted" moves nothing.
 *
 * Whatever stays unacknowledged is sent again. An acknowledgement from another ledger than before means that
 * the ledger was lost: everything is sent again from the journal's beginning.
 */

import type { Claim } from "../../core/format/claim.ts";
import {
  type Acknowledgement,
  type BatchRange,
  batchHash,
  decodeAck,
  encodeBatch,
} from "../../core/format/claim-batch.ts";
import type { Frame } from "../../core/format/frame.ts";
import type { Journal } from "../../core/store/journal.ts";
import { type JournalReader, openJournalReader } from "../../core/store/journal-reader.ts";
import type { BatchProducer } from "../../core/store/queue.ts";

const BATCH_CLAIMS = 500;
const WINDOW_BATCHES = 16;
/** Claims of this long share a batch. */
const LINGER_MS = 20;
const RESEND_MS = 5_000;
const RETRY_MS = 1_000;

interface Sent {
  readonly range: BatchRange;
  readonly claims: number;
  readonly bytes: Buffer;
  readonly hash: Buffer;
  sendAgainAtMs: number;
  acknowledged: boolean;
}

export interface ForwarderOptions {
  readonly dir: string;
  readonly journal: Journal;
  readonly wireKey: Uint8Array;
  /** What the recovered journal says was acknowledged before. */
  readonly acknowledged: { readonly ledgerId: Buffer; readonly upTo: number } | undefined;
  readonly append: (frame: Frame) => number;
  readonly monotonicMs: () => number;
  /** The journal cannot be read: the node must stop. */
  readonly onFailure: (error: unknown) => void;
}

export class Forwarder {
  private readonly options: ForwarderOptions;
  private readonly wireKey: Uint8Array;
  private ledgerId: Buffer | undefined;
  private position: number;
  private window: Sent[] = [];
  private startOver = false;
  private stopping = false;
  private running: Promise<void> | undefined;
  private wake: () => void = () => {};
  private resends = 0;

  constructor(options: ForwarderOptions) {
    this.options = options;
    this.wireKey = options.wireKey;
    this.ledgerId = options.acknowledged?.ledgerId;
    this.position = options.acknowledged?.upTo ?? 0;
  }

  /** Begins to send. Acknowledgements come in through `acknowledge`. */
  start(producer: BatchProducer): void {
    this.running = this.run(producer).catch((error) => {
      if (!this.stopping) this.options.onFailure(error);
    });
  }

  /** Journal bytes that no ledger has acknowledged yet. */
  get lagBytes(): number {
    return Math.max(0, this.options.journal.durableOffset - this.position);
  }

  get batchesInFlight(): number {
    return this.window.length;
  }

  get batchesResent(): number {
    return this.resends;
  }

  /** Takes an acknowledgement from the queue; whatever is not one of ours is ignored. */
  acknowledge(bytes: Uint8Array): void {
    const ack = decodeAck(this.wireKey, bytes);
    const sent = ack && this.window.find((one) => answers(ack, one));
    if (ack === undefined || sent === undefined) return;
    const ledgerId = Buffer.from(ack.ledgerId);
    if (this.ledgerId !== undefined && !this.ledgerId.equals(ledgerId)) {
      this.startOver = true;
      this.ledgerId = ledgerId;
      this.wake();
      return;
    }
    this.ledgerId = ledgerId;
    sent.acknowledged = true;
    this.advance(ledgerId);
    this.wake();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.wake();
    await this.running;
  }

  /** Moves over the acknowledged prefix. The frame is not synced: losing it only sends batches again. */
  private advance(ledgerId: Buffer): void {
    let moved = false;
    for (let first = this.window[0]; first?.acknowledged; first = this.window[0]) {
      this.position = first.range.to;
      this.window.shift();
      moved = true;
    }
    if (moved && !this.stopping) this.options.append({ type: "acknowledged", ledgerId, upTo: this.position });
  }

  private async run(producer: BatchProducer): Promise<void> {
    while (!this.stopping) {
      this.startOver = false;
      this.window = [];
      const reader = await openJournalReader(this.options.dir);
      try {
        await this.forward(reader, producer);
      } finally {
        await reader.close();
      }
      if (this.startOver) this.position = 0;
    }
  }

  /** Reads from `position` on and sends, until stopped or until another ledger answered. */
  private async forward(reader: JournalReader, producer: BatchProducer): Promise<void> {
    let from = this.position;
    while (!this.stopping && !this.startOver) {
      if (this.window.length < WINDOW_BATCHES) {
        const batch = await this.collect(reader, from);
        if (batch.claims.length > 0) {
          this.window.push(this.seal(batch));
          from = batch.to;
        }
      }
      const next = await this.sendDue(producer);
      await this.pause(next);
    }
  }

  /** Claims of the next range: at most a batch full of those that are on the disk. */
  private async collect(
    reader: JournalReader,
    from: number,
  ): Promise<{ from: number; to: number; claims: Claim[] }> {
    const claims: Claim[] = [];
    for await (const { frame } of reader.entries(from, this.options.journal.durableOffset)) {
      if (frame.type !== "claim") continue;
      const { token, user, device, atMs } = frame;
      claims.push({ token: Buffer.from(token), user, device, atMs });
      if (claims.length === BATCH_CLAIMS) break;
    }
    return { from, to: reader.offset, claims };
  }

  private seal(batch: { from: number; to: number; claims: Claim[] }): Sent {
    const { campaignTag, epoch, shard, journalId } = this.options.journal.identity;
    const range = { campaignTag, epoch, shard, journalId, from: batch.from, to: batch.to };
    const bytes = encodeBatch(this.wireKey, { ...range, claims: batch.claims });
    const hash = Buffer.from(batchHash(bytes));
    return { range, claims: batch.claims.length, bytes, hash, sendAgainAtMs: 0, acknowledged: false };
  }

  /** Sends what is due, for the first time or again. @returns milliseconds until the next one is. */
  private async sendDue(producer: BatchProducer): Promise<number> {
    for (const sent of this.window) {
      const nowMs = this.options.monotonicMs();
      if (sent.acknowledged || sent.sendAgainAtMs > nowMs) continue;
      if (sent.sendAgainAtMs > 0) this.resends++;
      try {
        await producer.send(jobId(sent), sent.bytes);
        sent.sendAgainAtMs = this.options.monotonicMs() + RESEND_MS;
      } catch {
        // The producer reports its outages itself; the claims are safe in the journal.
        sent.sendAgainAtMs = this.options.monotonicMs() + RETRY_MS;
        break;
      }
      if (this.stopping || this.startOver) break;
    }
    const due = this.window.filter((sent) => !sent.acknowledged).map((sent) => sent.sendAgainAtMs);
    return Math.max(LINGER_MS, Math.min(RETRY_MS, ...due.map((at) => at - this.options.monotonicMs())));
  }

  /** Waits for new durable claims, an acknowledgement, the next resend, or the end. */
  private async pause(ms: number): Promise<void> {
    const full = this.window.length >= WINDOW_BATCHES;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, full ? ms : LINGER_MS);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wake = () => {};
  }
}

function answers(ack: Acknowledgement, sent: Sent): boolean {
  return (
    ack.campaignTag === sent.range.campaignTag &&
    ack.epoch === sent.range.epoch &&
    ack.shard === sent.range.shard &&
    Buffer.from(ack.journalId).equals(sent.range.journalId) &&
    ack.from === sent.range.from &&
    ack.to === sent.range.to &&
    sent.hash.equals(ack.batchHash)
  );
}

function jobId(sent: Sent): string {
  const { shard, journalId, from, to } = sent.range;
  return `s${shard}-${Buffer.from(journalId).toString("hex").slice(0, 12)}-${from}-${to}`;
}
