/**
 * Forwarder: carries claims from the journal to the ledger. It reads below the durable offset with the same
 * reader that recovers, sends ranges as authenticated batches, and moves its position over the contiguous
 * prefix of ranges that a ledger acknowledged. The queue's own "accepted" moves nothing.
 *
 * Whatever stays unacknowledged is sent again. An empty batch, sent at the start and every minute, asks which
 * ledger is there: another one than before means that the ledger was lost, and everything is sent again from the
 * journal's beginning.
 */
import { decodeAck } from "../../core/format/claim-batch.ts";
import type { Frame } from "../../core/format/frame.ts";
import type { Journal } from "../../core/store/journal.ts";
import { type JournalReader, openJournalReader } from "../../core/store/journal-reader.ts";
import type { BatchProducer } from "../../core/store/queue.ts";
import { BATCH_CLAIMS, collectClaims, type Shipment, sealShipment } from "./shipment.ts";

const WINDOW_BATCHES = 16;
/** Claims of this long share a batch. */
const LINGER_MS = 20;
const RESEND_MS = 5_000;
const RETRY_MS = 1_000;
const PROBE_MS = 60_000;
const IDLE_MS_MAX = 1_000;

export interface ForwarderOptions {
  readonly dir: string;
  readonly journal: Journal;
  readonly wireKey: Uint8Array;
  /** What the recovered journal says was acknowledged before. */
  readonly acknowledged: { readonly ledgerId: Buffer; readonly upTo: number } | undefined;
  /** A stream offset inside the last claim. */
  readonly claimedUpTo: () => number;
  readonly append: (frame: Frame) => number;
  readonly monotonicMs: () => number;
  /** The journal cannot be read: the node must stop. */
  readonly onFailure: (error: unknown) => void;
}

export class Forwarder {
  private readonly options: ForwarderOptions;
  private ledgerId: Buffer | undefined;
  private position: number;
  private window: Shipment[] = [];
  private probe: Shipment | undefined;
  private probeAtMs = 0;
  private startOver = false;
  private stopping = false;
  private running: Promise<void> | undefined;
  private wake: () => void = () => {};
  private resends = 0;

  constructor(options: ForwarderOptions) {
    this.options = options;
    this.ledgerId = options.acknowledged?.ledgerId;
    this.position = options.acknowledged?.upTo ?? 0;
  }

  /** Begins to send. Acknowledgements come in through `acknowledge`. */
  start(producer: BatchProducer): void {
    this.running = this.run(producer).catch((error) => {
      if (!this.stopping) this.options.onFailure(error);
    });
  }

  /** Journal bytes up to the last claim that no ledger has acknowledged yet: 0 when everything is paid in. */
  get lagBytes(): number {
    return Math.max(0, this.options.claimedUpTo() - this.position);
  }

  get batchesInFlight(): number {
    return this.window.length;
  }

  get batchesResent(): number {
    return this.resends;
  }

  /** Takes an acknowledgement from the queue; whatever does not answer one of our batches is ignored. */
  acknowledge(bytes: Uint8Array): void {
    const ack = decodeAck(this.options.wireKey, bytes);
    const sent = ack && [...this.window, this.probe].find((one) => one?.isAnsweredBy(ack));
    if (ack === undefined || sent === undefined) return;
    const ledgerId = Buffer.from(ack.ledgerId);
    if (this.ledgerId !== undefined && !this.ledgerId.equals(ledgerId)) this.startOver = true;
    this.ledgerId = ledgerId;
    if (sent === this.probe) this.probe = undefined;
    sent.acknowledged = true;
    if (!this.startOver) this.advance(ledgerId);
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
    if (moved) this.note(ledgerId);
  }

  private note(ledgerId: Buffer): void {
    if (!this.stopping) this.options.append({ type: "acknowledged", ledgerId, upTo: this.position });
  }

  private async run(producer: BatchProducer): Promise<void> {
    while (!this.stopping) {
      const reader = await openJournalReader(this.options.dir);
      try {
        await this.forward(reader, producer);
      } finally {
        await reader.close();
      }
      if (!this.startOver) continue;
      this.startOver = false;
      this.position = 0;
      if (this.ledgerId !== undefined) this.note(this.ledgerId);
    }
  }

  /** Reads from `position` on and sends, until stopped or until another ledger answered. */
  private async forward(reader: JournalReader, producer: BatchProducer): Promise<void> {
    this.window = [];
    this.probe = undefined;
    let from = this.position;
    while (!this.stopping && !this.startOver) {
      let full = this.window.length >= WINDOW_BATCHES;
      if (!full) {
        const claims = await collectClaims(reader, from, this.options.journal.durableOffset);
        if (claims.length > 0) {
          const to = reader.offset;
          this.window.push(this.seal(from, to, claims));
          from = to;
        }
        full = claims.length < BATCH_CLAIMS || this.window.length >= WINDOW_BATCHES;
      }
      this.askForLedger();
      const dueMs = await this.sendDue(producer);
      if (full) await this.pause(dueMs);
    }
  }

  private seal(from: number, to: number, claims: Parameters<typeof sealShipment>[3]): Shipment {
    return sealShipment(this.options.wireKey, this.options.journal.identity, { from, to }, claims);
  }

  /** Once a minute, and at the start: an empty batch, answered by whatever ledger is there. */
  private askForLedger(): void {
    const nowMs = this.options.monotonicMs();
    if (this.probe !== undefined || nowMs < this.probeAtMs || this.window.length > 0) return;
    this.probe = this.seal(this.position, this.position, []);
    this.probeAtMs = nowMs + PROBE_MS;
  }

  /** Sends what is due, for the first time or again. @returns milliseconds until the next one is */
  private async sendDue(producer: BatchProducer): Promise<number> {
    const waiting = () =>
      [...this.window, ...(this.probe ? [this.probe] : [])].filter((one) => !one.acknowledged);
    for (const sent of waiting()) {
      if (sent.sendAtMs > this.options.monotonicMs()) continue;
      if (sent.tries++ > 0) this.resends++;
      try {
        await producer.send(sent.jobId, sent.bytes);
        sent.sendAtMs = this.options.monotonicMs() + RESEND_MS;
      } catch {
        // The producer reports its outages itself; the claims are safe in the journal.
        sent.sendAtMs = this.options.monotonicMs() + RETRY_MS;
        break;
      }
      if (this.stopping || this.startOver) break;
    }
    const nowMs = this.options.monotonicMs();
    return Math.min(PROBE_MS, this.probeAtMs - nowMs, ...waiting().map((one) => one.sendAtMs - nowMs));
  }

  /** Waits for claims on the disk, an acknowledgement, the next resend, or the end; then lets claims gather. */
  private async pause(ms: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(resolve, Math.max(LINGER_MS, Math.min(ms, IDLE_MS_MAX)));
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.window.length < WINDOW_BATCHES) this.options.journal.nextDurable().then(this.wake, reject);
    });
    this.wake = () => {};
    if (!this.stopping) await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
  }
}
