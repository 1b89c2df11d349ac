/**
 * Forwarder: carries claims from the journal to the ledger. It reads below the durable offset with the same
 * reader that recovers, sends ranges as authenticated batches, and moves its position over the contiguous
 * prefix of ranges that the ledger acknowledged. The queue's own "accepted" moves nothing; whatever stays
 * unacknowledged is sent again.
 *
 * Claims are sent to one ledger by name, never to whoever reads the queue. Which one, and what it holds of this
 * journal, the node asks before it sends any, and again every minute (see ledger-witness.ts).
 */
import { decodeAck } from "../../core/format/claim-batch.ts";
import type { Frame } from "../../core/format/frame.ts";
import type { Journal } from "../../core/store/journal.ts";
import type { JournalReader } from "../../core/store/journal-reader.ts";
import type { BatchProducer } from "../../core/store/queue.ts";
import type { Clock } from "./clock.ts";
import { LedgerWitness } from "./ledger-witness.ts";
import type { OpenedShard } from "./open-shard.ts";
import { BATCH_CLAIMS, collectClaims, type Shipment, sealShipment } from "./shipment.ts";
import type { Unvouched } from "./unvouched.ts";

/** Batches under way at once. */
const WINDOW_BATCHES = 16;
/**
 * How many may wait for the oldest one: a worker that dies keeps its batch for seconds, until BullMQ gives it to
 * another one, and nobody else shall wait for that.
 */
const SPAN_BATCHES = 512;
/** Claims of this long share a batch. */
const LINGER_MS = 20;
const RESEND_MS = 5_000;
const RETRY_MS = 1_000;
const IDLE_MS_MAX = 1_000;
const ASK_AGAIN_MS = 60_000;

export interface ForwarderOptions {
  readonly journal: Journal;
  /** Where the journal ended before this node wrote anything, until a ledger has vouched for it. */
  readonly unvouched: Unvouched;
  readonly wireKey: Uint8Array;
  /** What the recovered journal says was acknowledged before. */
  readonly acknowledged: { readonly ledgerId: Buffer; readonly upTo: number } | undefined;
  /** A stream offset inside the last claim. */
  readonly claimedUpTo: () => number;
  readonly append: (frame: Frame) => number;
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  /** Random bytes, for names of ledgers that do not exist. */
  readonly random: (bytes: number) => Buffer;
  /** Something that an engineer must know: a ledger was replaced, or there are two. */
  readonly alarm: (message: string) => void;
  /** The journal cannot be read, or is not the shard's: the node must stop. */
  readonly onFailure: (error: unknown) => void;
}

export class Forwarder {
  /** Resolves when ledgers were heard for the first time: one vouches for the journal, or there are two. */
  readonly heard: Promise<void>;
  private readonly options: ForwarderOptions;
  private readonly witness: LedgerWitness;
  private position: number;
  private window: Shipment[] = [];
  private askAtMs = 0;
  private stopping = false;
  private running: Promise<void> | undefined;
  /** Durable offset up to which the journal was last looked at. */
  private seenUpTo = 0;
  private woken = false;
  private wake: () => void = () => {};
  private tell: () => void = () => {};
  private resends = 0;

  constructor(options: ForwarderOptions) {
    this.options = options;
    this.witness = new LedgerWitness(options, options.acknowledged?.ledgerId);
    this.position = options.acknowledged?.upTo ?? 0;
    this.heard = new Promise((resolve) => {
      this.tell = resolve;
    });
  }

  /** The forwarder of a shard's own journal. */
  static of(
    { shard, unvouched }: Pick<OpenedShard, "shard" | "unvouched">,
    world: Pick<ForwarderOptions, "random" | "alarm" | "onFailure">,
  ): Forwarder {
    const { journal, keys, book, append, clock } = shard;
    return new Forwarder({
      journal,
      unvouched,
      wireKey: keys.wire,
      acknowledged: book.acknowledged,
      claimedUpTo: () => book.claimedUpTo,
      append,
      clock,
      ...world,
    });
  }

  /** Begins to send. Answers come in through `acknowledge`. */
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
    return this.window.filter((one) => !one.acknowledged).length;
  }

  get batchesResent(): number {
    return this.resends;
  }

  /** True once a ledger has vouched for the journal. */
  get isVouched(): boolean {
    return this.options.unvouched.offset === undefined;
  }

  /** True once two ledgers answered: nothing is sent any more. */
  get isSplit(): boolean {
    return this.witness.isSplit;
  }

  /** Takes an answer from the queue; whatever does not answer one of our batches is ignored. */
  acknowledge(bytes: Uint8Array): void {
    const ack = decodeAck(this.options.wireKey, bytes);
    const sent = ack && [...this.window, this.witness.question].find((one) => one?.isAnsweredBy(ack));
    if (ack === undefined || sent === undefined) return;
    if (sent === this.witness.question) this.witness.hear(ack);
    else if (sent.forLedger.equals(ack.ledgerId)) {
      sent.acknowledge();
      this.advance();
    } else this.askAtMs = 0; // Another ledger took our batch: it credited nothing, and we must know why it is there.
    this.wakeUp();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.wakeUp();
    await this.running;
  }

  /** Moves over the acknowledged prefix. The frame is not synced: losing it only sends batches again. */
  private advance(): void {
    const before = this.position;
    for (let first = this.window[0]; first?.acknowledged; first = this.window[0]) {
      this.position = first.range.to;
      this.window.shift();
    }
    if (this.position > before) this.note();
  }

  private note(): void {
    const { ledgerId } = this.witness;
    if (this.stopping || ledgerId === undefined) return;
    this.options.append({ type: "acknowledged", ledgerId, upTo: this.position });
  }

  private async run(producer: BatchProducer): Promise<void> {
    while (!this.stopping && !this.witness.isSplit) {
      const reader = await this.options.journal.reader();
      try {
        await this.forward(reader, producer);
      } finally {
        await reader.close();
      }
    }
  }

  /** Asks which ledger is there, then reads from `position` on and sends, until it is time to ask again. */
  private async forward(reader: JournalReader, producer: BatchProducer): Promise<void> {
    const ledgerId = await this.askForLedger(producer);
    if (ledgerId === undefined) return;
    this.window = [];
    let from = this.position;
    while (!this.stopping && !this.isTimeToAsk()) {
      let full = this.isFull();
      if (!full) {
        this.seenUpTo = this.options.journal.durableOffset;
        const claims = await collectClaims(reader, from, this.seenUpTo);
        if (claims.length > 0) {
          const range = { from, to: reader.offset, forLedger: ledgerId };
          const { wireKey, journal } = this.options;
          this.window.push(sealShipment(wireKey, journal.identity, range, claims));
          from = reader.offset;
        }
        full = claims.length < BATCH_CLAIMS || this.isFull();
      }
      const dueMs = await this.sendDue(producer, this.window);
      if (full) await this.pause(dueMs);
    }
  }

  private isFull(): boolean {
    return this.batchesInFlight >= WINDOW_BATCHES || this.window.length >= SPAN_BATCHES;
  }

  /** A batch that another ledger answered makes it urgent; otherwise it is asked in a quiet minute. */
  private isTimeToAsk(): boolean {
    return (
      this.askAtMs === 0 || (this.window.length === 0 && this.options.clock.monotonicMs() >= this.askAtMs)
    );
  }

  /** The question may have been answered while it was being sent. */
  private isAsking(): boolean {
    return this.witness.question !== undefined;
  }

  /** @returns the one ledger that answers, or undefined if there are two or the node stops */
  private async askForLedger(producer: BatchProducer): Promise<Buffer | undefined> {
    this.witness.begin(this.askAtMs === 0 && this.window.length > 0);
    for (let next = this.ask(); next && !this.stopping; next = this.ask()) {
      const dueMs = await this.sendDue(producer, [next]);
      if (this.isAsking()) await this.pause(dueMs);
    }
    this.askAtMs = this.options.clock.monotonicMs() + ASK_AGAIN_MS;
    if (this.stopping) return undefined;
    const before = this.witness.ledgerId;
    const from = this.witness.judge(this.position);
    if (from !== undefined) await this.options.unvouched.clear();
    this.tell();
    if (from === undefined) return undefined;
    if (from !== this.position || before !== this.witness.ledgerId) {
      this.position = from;
      this.note();
    }
    return this.witness.ledgerId;
  }

  private ask(): Shipment | undefined {
    return this.witness.ask(this.position);
  }

  /** Sends what is due, for the first time or again. @returns milliseconds until the next one is */
  private async sendDue(producer: BatchProducer, shipments: readonly Shipment[]): Promise<number> {
    for (const sent of [...shipments]) {
      // An answer may have come while those in front were being sent.
      if (sent.acknowledged || sent.sendAtMs > this.options.clock.monotonicMs()) continue;
      if (sent.tries++ > 0) this.resends++;
      // The producer reports its outages itself; the claims are safe in the journal.
      const accepted = await producer.send(sent.jobId, sent.bytes).then(
        () => true,
        () => false,
      );
      sent.sendAtMs = this.options.clock.monotonicMs() + (accepted ? RESEND_MS : RETRY_MS);
      if (!accepted) break;
      if (this.stopping) break;
    }
    const nowMs = this.options.clock.monotonicMs();
    const waiting = shipments.filter((one) => !one.acknowledged);
    return Math.min(IDLE_MS_MAX, ...waiting.map((one) => one.sendAtMs - nowMs));
  }

  /** Waits for claims on the disk, an answer, the next resend, or the end; then lets claims gather. */
  private async pause(ms: number): Promise<void> {
    const asking = this.isAsking();
    const { clock } = this.options;
    if (!this.woken && !this.stopping)
      await new Promise<void>((resolve, reject) => {
        const callOff = clock.after(Math.max(LINGER_MS, ms), resolve);
        this.wake = () => {
          callOff();
          resolve();
        };
        if (!asking && !this.isFull())
          this.options.journal.durablePast(this.seenUpTo).then(() => this.wake(), reject);
      });
    this.woken = false;
    this.wake = () => {};
    if (!this.stopping && !asking) await new Promise<void>((resolve) => clock.after(LINGER_MS, resolve));
  }

  /** What came in while nobody waited is not waited for. */
  private wakeUp(): void {
    this.woken = true;
    this.wake();
  }
}
