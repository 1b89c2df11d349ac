/**
 * The queue between nodes and workers, as bad as a queue can be: it loses, repeats, reorders and delays batches and
 * acknowledgements, is emptied or away, hands a batch to a second worker while the first still has it, and carries
 * what a stranger puts in. To both sides it is the product's own interface.
 *
 * Like BullMQ it knows a job by its ID while the job waits or runs, and gives a worker one at a time.
 */
import type { BatchConsumer, BatchProducer } from "../../../core/store/queue.ts";
import type { SeededRandom } from "../random.ts";
import type { EventLog } from "./event-log.ts";
import type { Life } from "./life.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Tallies } from "./tallies.ts";

/** How often what goes wrong, 0 to 1 of all that is sent. */
export interface QueueFaults {
  dropped: number;
  duplicated: number;
  reordered: number;
  stalled: number;
  ackLost: number;
  ackRepeated: number;
  ackLate: number;
  refused: number;
  forged: number;
}

interface Job {
  readonly id: string;
  readonly bytes: Uint8Array;
}

interface Consumer {
  readonly name: string;
  readonly life: Life;
  readonly process: (batch: Uint8Array) => Promise<Uint8Array>;
  inHand: Promise<unknown> | undefined;
  isClosed: boolean;
}

const DELAY_MS_MAX = 30;
const LATE_MS_MAX = 90_000;
const STALL_MS_MAX = 8_000;
const REFUSAL_MS_MAX = 2_000;
/** What a stranger has overheard and may send again, whole or changed. */
const OVERHEARD = 40;

export class SimulatedQueue {
  faults: QueueFaults;
  private readonly scheduler: Scheduler;
  private readonly random: SeededRandom;
  private readonly log: EventLog;
  private readonly tallies: Tallies;
  private isAway = false;
  private waiting: Job[] = [];
  private readonly active = new Map<string, Job>();
  private readonly consumers: Consumer[] = [];
  private readonly producers: { readonly life: Life; readonly ack: (ack: Uint8Array) => void }[] = [];
  private readonly batchesHeard: Uint8Array[] = [];
  private readonly acksHeard: Uint8Array[] = [];
  private strange = 0;

  constructor(
    scheduler: Scheduler,
    random: SeededRandom,
    faults: QueueFaults,
    log: EventLog,
    tallies: Tallies,
  ) {
    this.scheduler = scheduler;
    this.random = random;
    this.faults = faults;
    this.log = log;
    this.tallies = tallies;
  }

  producer(life: Life, ack: (ack: Uint8Array) => void): BatchProducer {
    this.producers.push({ life, ack });
    return {
      connected: true,
      depth: async () => this.waiting.length + this.active.size,
      send: (jobId, batch) => life.heard(this.take(life, jobId, Buffer.from(batch))),
      close: async () => {},
    };
  }

  consumer(name: string, life: Life, process: Consumer["process"]): BatchConsumer {
    const consumer: Consumer = { name, life, process, inHand: undefined, isClosed: false };
    this.consumers.push(consumer);
    this.soon();
    return {
      close: async () => {
        consumer.isClosed = true;
        await consumer.inHand;
      },
    };
  }

  /** Everything in it is gone; what workers have in hand is answered to nobody. */
  flush(): void {
    this.log.add("queue", `flushed of ${this.waiting.length} waiting, ${this.active.size} running`);
    this.waiting = [];
    this.active.clear();
  }

  /** Nobody gets through until it is back. */
  goAway(): void {
    this.isAway = true;
  }

  comeBack(): void {
    this.isAway = false;
    this.soon();
  }

  private async take(life: Life, id: string, batch: Uint8Array): Promise<void> {
    await this.scheduler.passed(this.random.below(DELAY_MS_MAX));
    if (life.isOver) return;
    const isRefused = this.isAway || this.hits("refused");
    // What was refused may have arrived all the same.
    if (!isRefused || (!this.isAway && this.random.chance(0.3))) this.add({ id, bytes: batch });
    if (!isRefused) return;
    await this.scheduler.passed(this.random.below(REFUSAL_MS_MAX));
    throw new Error("the queue is away");
  }

  private add(job: Job): void {
    remember(this.batchesHeard, job.bytes);
    if (this.active.has(job.id) || this.waiting.some(({ id }) => id === job.id)) return;
    if (this.hits("dropped")) return;
    this.waiting.push(job);
    if (this.hits("duplicated")) this.waiting.push({ ...job, id: `${job.id}-again-${this.strange++}` });
    if (this.hits("forged")) this.waiting.push(this.forgery());
    this.soon();
  }

  /** Bytes that a stranger who reads and writes the queue can make. */
  private forgery(): Job {
    const heard = this.random.pick(this.batchesHeard);
    const bytes = this.random.chance(0.5) ? heard : this.changed(heard);
    return { id: `strange-${this.strange++}`, bytes };
  }

  private changed(heard: Uint8Array): Uint8Array {
    const bytes = Buffer.from(heard);
    const at = this.random.below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 + this.random.below(255));
    return this.random.chance(0.2) ? bytes.subarray(0, at) : bytes;
  }

  private soon(): void {
    this.scheduler.in(this.random.below(5), () => this.handOver());
  }

  private handOver(): boolean {
    const idle = this.consumers.filter((one) => !one.life.isOver && !one.isClosed && !one.inHand);
    if (this.isAway || idle.length === 0 || this.waiting.length === 0) return false;
    const consumer = this.random.pick(idle);
    const at = this.hits("reordered") ? this.random.below(this.waiting.length) : 0;
    const [job] = this.waiting.splice(at, 1);
    if (job === undefined) return false;
    this.active.set(job.id, job);
    consumer.inHand = this.deliver(consumer, job).finally(() => {
      consumer.inHand = undefined;
      this.soon();
    });
    consumer.life.whenOver(() => this.abandon(job));
    if (this.hits("stalled")) this.scheduler.in(this.random.below(STALL_MS_MAX), () => this.stall(job));
    this.soon();
    return true;
  }

  private async deliver(consumer: Consumer, job: Job): Promise<void> {
    await this.scheduler.passed(this.random.below(DELAY_MS_MAX));
    if (consumer.life.isOver) return;
    const ack = await consumer.life.heard(consumer.process(job.bytes)).catch(() => undefined);
    const isOurs = this.active.get(job.id) === job;
    this.log.add(
      "queue",
      `${consumer.name} ${ack ? "answered" : "dropped"} a batch${isOurs ? "" : ", late"}`,
    );
    if (isOurs) this.active.delete(job.id);
    // A job that was flushed or given to another worker meanwhile may still tell its result, or not.
    if (ack !== undefined && (isOurs || this.random.chance(0.5))) this.announce(ack);
  }

  private announce(ack: Uint8Array): void {
    remember(this.acksHeard, ack);
    for (const { life, ack: hear } of this.producers) {
      if (life.isOver) continue;
      const tell = (bytes: Uint8Array, ms: number) =>
        this.scheduler.in(ms, () => !life.isOver && hear(bytes));
      if (this.hits("ackLost")) continue;
      tell(ack, this.random.below(this.hits("ackLate") ? LATE_MS_MAX : DELAY_MS_MAX));
      if (this.hits("ackRepeated")) tell(ack, this.random.below(LATE_MS_MAX));
      if (this.hits("forged"))
        tell(this.changed(this.random.pick(this.acksHeard)), this.random.below(DELAY_MS_MAX));
      if (this.hits("forged")) tell(this.random.pick(this.acksHeard), this.random.below(DELAY_MS_MAX));
    }
  }

  /** The worker seems dead: its job is given to another, though it still works on it. */
  private stall(job: Job): boolean {
    if (this.active.get(job.id) !== job) return false;
    this.active.delete(job.id);
    this.waiting.push({ ...job });
    this.soon();
    return true;
  }

  /** The worker is dead: after a while its job is given to another. */
  private abandon(job: Job): void {
    if (this.active.get(job.id) === job)
      this.scheduler.in(1000 + this.random.below(STALL_MS_MAX), () => this.stall(job));
  }

  private hits(fault: keyof QueueFaults): boolean {
    if (this.faults[fault] === 0 || !this.random.chance(this.faults[fault])) return false;
    this.tallies.count(`queue ${fault}`);
    return true;
  }
}

function remember(heard: Uint8Array[], bytes: Uint8Array): void {
  heard.push(bytes);
  if (heard.length > OVERHEARD) heard.shift();
}
