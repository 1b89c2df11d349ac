/**
 * Forwarder: carries claims from the journal to the ledger. It reads below the durable offset with the same
 * reader that recovers, sends ranges as authenticated batches, and moves its position over the contiguous
 * prefix of ranges that the ledger acknowledged. The queue's own "accepted" moves nothing; whatever stays
 * unacknowledged is sent again.
 *
 * Claims are sent to one ledger by name, never to whoever reads the queue. Which one, the node asks before it
 * sends any, and again every minute: another one than before means that the ledger was lost, and everything is
 * sent again to the new one. Two that both answer would both pay: nothing more is sent until somebody has stopped
 * one of them and started the node again. The answer also tells what the ledger holds of this journal: less than
 * it acknowledged means an older copy of the ledger, more than the journal has an older copy of the journal, and
 * another journal that somebody else serves this shard.
 */
import { ID_BYTES } from "../../core/format/claim.ts";
import { type Acknowledgement, decodeAck } from "../../core/format/claim-batch.ts";
import { HongbaoError } from "../../core/format/error.ts";
import type { Frame } from "../../core/format/frame.ts";
import type { Journal } from "../../core/store/journal.ts";
import type { JournalReader } from "../../core/store/journal-reader.ts";
import type { BatchProducer } from "../../core/store/queue.ts";
import type { Clock } from "./clock.ts";
import { BATCH_CLAIMS, collectClaims, type Shipment, sealQuestion, sealShipment } from "./shipment.ts";

const WINDOW_BATCHES = 16;
/** Claims of this long share a batch. */
const LINGER_MS = 20;
const RESEND_MS = 5_000;
const RETRY_MS = 1_000;
const IDLE_MS_MAX = 1_000;
const ASK_AGAIN_MS = 60_000;
/** Answers that must agree before a ledger is believed in: several workers take turns at a queue. */
const ANSWERS = 8;

export interface ForwarderOptions {
  readonly journal: Journal;
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
  private readonly options: ForwarderOptions;
  private ledgerId: Buffer | undefined;
  private position: number;
  private window: Shipment[] = [];
  private question: Shipment | undefined;
  /** Answers to the questions of this round. */
  private answers: Acknowledgement[] = [];
  /** Ledgers that this process has sent claims to and left, hex. */
  private readonly left = new Set<string>();
  private askAtMs = 0;
  private split = false;
  private stopping = false;
  private running: Promise<void> | undefined;
  /** Durable offset up to which the journal was last looked at. */
  private seenUpTo = 0;
  private woken = false;
  private wake: () => void = () => {};
  private resends = 0;

  constructor(options: ForwarderOptions) {
    this.options = options;
    this.ledgerId = options.acknowledged?.ledgerId;
    this.position = options.acknowledged?.upTo ?? 0;
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
    return this.window.length;
  }

  get batchesResent(): number {
    return this.resends;
  }

  /** True once two ledgers answered: nothing is sent any more. */
  get isSplit(): boolean {
    return this.split;
  }

  /** Takes an answer from the queue; whatever does not answer one of our batches is ignored. */
  acknowledge(bytes: Uint8Array): void {
    const ack = decodeAck(this.options.wireKey, bytes);
    const sent = ack && [...this.window, this.question].find((one) => one?.isAnsweredBy(ack));
    if (ack === undefined || sent === undefined) return;
    if (sent === this.question) {
      this.question = undefined;
      this.answers.push(ack);
    } else if (sent.forLedger.equals(ack.ledgerId)) {
      sent.acknowledged = true;
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
    let moved = false;
    for (let first = this.window[0]; first?.acknowledged; first = this.window[0]) {
      this.position = first.range.to;
      this.window.shift();
      moved = true;
    }
    if (moved) this.note();
  }

  private note(): void {
    if (this.stopping || this.ledgerId === undefined) return;
    this.options.append({ type: "acknowledged", ledgerId: this.ledgerId, upTo: this.position });
  }

  private async run(producer: BatchProducer): Promise<void> {
    while (!this.stopping && !this.split) {
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
      let full = this.window.length >= WINDOW_BATCHES;
      if (!full) {
        this.seenUpTo = this.options.journal.durableOffset;
        const claims = await collectClaims(reader, from, this.seenUpTo);
        if (claims.length > 0) {
          const range = { from, to: reader.offset, forLedger: ledgerId };
          this.window.push(sealShipment(this.options.wireKey, this.options.journal.identity, range, claims));
          from = reader.offset;
        }
        full = claims.length < BATCH_CLAIMS || this.window.length >= WINDOW_BATCHES;
      }
      const dueMs = await this.sendDue(producer, this.window);
      if (full) await this.pause(dueMs);
    }
  }

  /** A batch that another ledger answered makes it urgent; otherwise it is asked in a quiet minute. */
  private isTimeToAsk(): boolean {
    return (
      this.askAtMs === 0 || (this.window.length === 0 && this.options.clock.monotonicMs() >= this.askAtMs)
    );
  }

  /** The question may have been answered while it was being sent. */
  private isAsking(): boolean {
    return this.question !== undefined;
  }

  /** @returns the one ledger that answers, or undefined if there are two or the node stops */
  private async askForLedger(producer: BatchProducer): Promise<Buffer | undefined> {
    const wasContradicted = this.askAtMs === 0 && this.window.length > 0;
    this.answers = [];
    while (this.answers.length < ANSWERS && !this.stopping) {
      const { wireKey, journal, random } = this.options;
      this.question ??= sealQuestion(wireKey, journal.identity, this.position, random(ID_BYTES));
      const dueMs = await this.sendDue(producer, [this.question]);
      if (this.isAsking()) await this.pause(dueMs);
    }
    this.question = undefined;
    this.askAtMs = this.options.clock.monotonicMs() + ASK_AGAIN_MS;
    if (this.stopping) return undefined;
    const names = new Set(this.answers.map(({ ledgerId }) => Buffer.from(ledgerId).toString("hex")));
    const ledgerId = this.believe(names, wasContradicted);
    if (ledgerId !== undefined) this.hold(this.answers.at(-1));
    return ledgerId;
  }

  /** Holds the ledger's word on this journal against the journal. @throws HongbaoError `owned_elsewhere` */
  private hold(answer: Acknowledgement | undefined): void {
    if (answer === undefined) return;
    if (answer.standing === "other-journal")
      throw new HongbaoError(
        "owned_elsewhere",
        "the ledger knows another journal of this shard: another node has served these packets; stop this one, and serve the shard from that journal",
      );
    if (answer.settledUpTo > this.options.journal.appendedOffset)
      throw new HongbaoError(
        "owned_elsewhere",
        `the ledger holds claims of this journal up to offset ${answer.settledUpTo}, but it ends at ${this.options.journal.appendedOffset}: this is an older copy; restore the journal itself`,
      );
    if (answer.settledUpTo >= this.position) return;
    this.options.alarm(
      `the ledger vouches for this journal only up to offset ${answer.settledUpTo}, not ${this.position}: everything behind is sent again`,
    );
    this.position = answer.settledUpTo;
    this.note();
  }

  private believe(answers: ReadonlySet<string>, wasContradicted: boolean): Buffer | undefined {
    const known = this.ledgerId?.toString("hex");
    const [heard] = answers;
    if (
      heard === undefined ||
      answers.size > 1 ||
      this.left.has(heard) ||
      (wasContradicted && heard === known)
    ) {
      this.split = true;
      const names = [...new Set([...answers, ...this.left, ...(known === undefined ? [] : [known])])].join(
        " and ",
      );
      this.options.alarm(
        `two ledgers answer on this queue (${names}): nothing more is sent; stop the wrong credit worker, then start this node again`,
      );
      return undefined;
    }
    if (heard !== known) {
      if (known !== undefined) {
        this.left.add(known);
        this.options.alarm(
          `ledger ${known} was replaced by ${heard}: everything is sent again from the beginning`,
        );
      }
      this.ledgerId = Buffer.from(heard, "hex");
      this.position = 0;
      this.note();
    }
    return this.ledgerId;
  }

  /** Sends what is due, for the first time or again. @returns milliseconds until the next one is */
  private async sendDue(producer: BatchProducer, shipments: readonly Shipment[]): Promise<number> {
    const waiting = shipments.filter((one) => !one.acknowledged);
    for (const sent of waiting) {
      if (sent.sendAtMs > this.options.clock.monotonicMs()) continue;
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
        if (!asking && this.window.length < WINDOW_BATCHES)
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
