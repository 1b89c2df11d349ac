/**
 * The transport of opaque batches from nodes (producers) to a credit worker (consumer), and of the worker's
 * acknowledgements back: BullMQ, on Redis, on PostgreSQL or on the embedded PGlite.
 *
 * The transport is lossy and untrusted. A batch or an acknowledgement may be lost, repeated or forged at any
 * time: what matters carries its own MAC and is sent again until acknowledged. What must always hold here: no
 * call hangs, no outage ends the process, and a batch sent again is processed again unless it still waits.
 */
import { invariant } from "../format/error.ts";
import { requireQueueHost } from "./embedded-socket.ts";
import { describeQueueAddress } from "./queue-address.ts";
import {
  type BatchEvents,
  type BatchQueue,
  type BatchWorker,
  type Link,
  type LinkAddress,
  openLink,
} from "./queue-link.ts";
import { type Life, QueueSession, type SessionEvents, within } from "./queue-session.ts";
import { SecondLook } from "./second-look.ts";

export interface BatchProducer {
  /**
   * Puts a batch (at most 1 MiB) into the queue. While a job with this ID waits or runs, it is the same job.
   *
   * @param jobId letters, digits, `-`, `_` and `.`; not a bare integer (BullMQ's own IDs).
   * @returns when the queue has accepted the job, or already holds it.
   * @throws HongbaoError `queue_unavailable`, or the server's error, within seconds: send again later. A job
   *   that was refused this way may have arrived all the same.
   */
  send(jobId: string, batch: Uint8Array): Promise<void>;
  /** Jobs that wait or run, or null when the queue cannot be asked now. */
  depth(): Promise<number | null>;
  readonly connected: boolean;
  /** Returns within a second or two, also when the server is dead. */
  close(): Promise<void>;
}

export interface BatchConsumer {
  /** Lets the batch in hand finish for a few seconds; a batch cut off is processed again by the next consumer. */
  close(): Promise<void>;
}

export interface ProducerEvents extends SessionEvents {
  /** What a consumer returned for a batch: anybody's batch, so every producer filters for its own. */
  ack(ack: Uint8Array): void;
}

export const BATCH_BYTES_MAX = 1024 * 1024;
const BATCH_CHARS_MAX = Math.ceil((BATCH_BYTES_MAX * 4) / 3);

const JOB_ID = /^(?!-?\d+$)[\w.-]{1,128}$/;
const BASE64URL = /^[\w-]*$/;
const JOB_NAME = "batch";

const SEND_WAIT_MS = 2_000;
const CALL_MS_MAX = 5_000;
const PRODUCER_END_MS_MAX = 1_000;
const CONSUMER_END_MS_MAX = 5_000;
/** Every accepted job makes an event. A reader that has heard nothing for this long after one is deaf. */
const DEAF_MS = 6_000;
const LISTEN_CHECK_MS = 500;

/**
 * Returns at once; connects in the background and tries for ever.
 *
 * @throws HongbaoError `queue_unavailable` for the embedded queue in a process that nobody forked.
 */
export function openBatchProducer(
  address: LinkAddress,
  queueName: string,
  on: ProducerEvents,
): BatchProducer {
  if (address.kind === "embedded") requireQueueHost();
  return new QueueProducer(address, queueName, on);
}

/**
 * Returns at once; connects in the background and tries for ever. Batches are processed one at a time.
 *
 * @param process its result is the acknowledgement; when it throws, the job is dropped without one. It may take
 *   as long as it needs: BullMQ keeps the job's lock.
 * @throws HongbaoError `queue_unavailable` for the embedded queue in a process that nobody forked.
 */
export function openBatchConsumer(
  address: LinkAddress,
  queueName: string,
  process: (batch: Uint8Array) => Promise<Uint8Array>,
  on: SessionEvents,
): BatchConsumer {
  if (address.kind === "embedded") requireQueueHost();
  const inTurn = takeTurns(async (job: unknown) => encode(await process(decodeJob(job))));
  return new QueueSession(
    describeQueueAddress(address),
    (lost) => consume(address, queueName, inTurn, lost),
    on,
  );
}

class QueueProducer implements BatchProducer {
  readonly #session: QueueSession<ProducerLife>;

  constructor(address: LinkAddress, queueName: string, on: ProducerEvents) {
    const open = (lost: (error: Error) => void) => new ProducerLife(address, queueName, on.ack, lost);
    this.#session = new QueueSession(describeQueueAddress(address), open, on);
  }

  get connected(): boolean {
    return this.#session.current !== undefined;
  }

  async send(jobId: string, batch: Uint8Array): Promise<void> {
    invariant(JOB_ID.test(jobId), `"${jobId}" can be a job ID`);
    invariant(batch.length <= BATCH_BYTES_MAX, `a batch has at most ${BATCH_BYTES_MAX} bytes`);
    const life = await this.#session.opened(SEND_WAIT_MS);
    try {
      await life.add(jobId, encode(batch));
      this.#session.confirm();
    } catch (error) {
      // Whatever it was (hung, out of memory, demoted, schema dropped), a new link finds out how things stand.
      this.#session.fail(life, error);
      throw error;
    }
  }

  async depth(): Promise<number | null> {
    try {
      return (await this.#session.current?.depth()) ?? null;
    } catch {
      return null;
    }
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}

/** A link with the queue to write to and the stream of its events to read acknowledgements from. */
class ProducerLife implements Life<ProducerLife> {
  readonly ready: Promise<ProducerLife>;
  readonly #link: Link;
  readonly #lost: (error: Error) => void;
  #queue: BatchQueue | undefined;
  #events: BatchEvents | undefined;
  #unheardSinceMs: number | undefined;
  #listenCheck: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(
    address: LinkAddress,
    queueName: string,
    ack: (ack: Uint8Array) => void,
    lost: (error: Error) => void,
  ) {
    this.#link = openLink(address, lost);
    this.#lost = lost;
    this.ready = this.#start(queueName, ack);
  }

  async #start(queueName: string, ack: (ack: Uint8Array) => void): Promise<this> {
    await this.#link.ready();
    const newest = await this.#link.newestEvent(queueName);
    /* v8 ignore if -- closed between the server's answer and this line: microtasks that no test can hit */
    if (this.#isOver) throw new Error("closed while it was opening");
    this.#queue = this.#link.queue(queueName);
    this.#events = this.#link.events(queueName, newest);
    this.#listen(this.#events, queueName, ack);
    await Promise.all([this.#queue.waitUntilReady(), this.#events.waitUntilReady()]);
    return this;
  }

  #listen(events: BatchEvents, queueName: string, ack: (ack: Uint8Array) => void): void {
    const deliver = (result: unknown) => {
      const bytes = decode(result);
      if (bytes !== undefined) ack(bytes);
    };
    const read = this.#link.completionsAfter;
    const secondLook = read && new SecondLook((id) => read(queueName, id), deliver);
    const heard = (id: string, isCompletion: boolean) => {
      this.#unheardSinceMs = undefined;
      secondLook?.passed(Number(id), isCompletion);
    };
    events.on("added", (_args, id) => heard(id, false));
    events.on("duplicated", (_args, id) => heard(id, false));
    events.on("completed", ({ returnvalue }, id) => {
      heard(id, true);
      deliver(returnvalue);
    });
    this.#listenCheck = setInterval(() => {
      this.#checkHearing();
      secondLook?.look().catch(this.#lost);
    }, LISTEN_CHECK_MS).unref();
  }

  async add(jobId: string, batch: string): Promise<void> {
    invariant(this.#queue !== undefined, "a life that is ready has its queue");
    // Set before the call: its event may be heard before its answer.
    this.#unheardSinceMs ??= performance.now();
    await within(CALL_MS_MAX, this.#queue.add(JOB_NAME, { batch }, { jobId }));
  }

  async depth(): Promise<number | null> {
    invariant(this.#queue !== undefined, "a life that is ready has its queue");
    return await within(CALL_MS_MAX, this.#queue.getJobCountByTypes("waiting", "active"));
  }

  /**
   * The reader goes on from the last event that it saw. On a server whose clock or counter is behind that event
   * (emptied, restored, failed over) it would wait, connected, for what comes too early for it.
   */
  #checkHearing(): void {
    if (this.#unheardSinceMs === undefined || performance.now() - this.#unheardSinceMs < DEAF_MS) return;
    this.#lost(new Error("its event stream has gone silent"));
  }

  async end(): Promise<void> {
    this.#isOver = true;
    clearInterval(this.#listenCheck);
    const closed = Promise.all([this.#events?.close(), this.#queue?.close()]);
    await within(PRODUCER_END_MS_MAX, closed).catch(() => {});
    this.#link.destroy();
  }
}

function consume(
  address: LinkAddress,
  queueName: string,
  process: (job: unknown) => Promise<string>,
  lost: (error: Error) => void,
): Life<BatchWorker> {
  const link = openLink(address, lost);
  let worker: BatchWorker | undefined;
  let isOver = false;
  const start = async (): Promise<BatchWorker> => {
    await link.ready();
    /* v8 ignore if -- closed between the server's answer and this line: microtasks that no test can hit */
    if (isOver) throw new Error("closed while it was opening");
    worker = link.worker(queueName, process);
    await worker.waitUntilReady();
    return worker;
  };
  return {
    ready: start(),
    end: async (graceful) => {
      isOver = true;
      const closed = worker?.close(!graceful) ?? Promise.resolve();
      // A forced close leaves a blocked read waiting for its time-out; this wakes it.
      if (!graceful) worker?.disconnect().catch(() => {});
      await within(graceful ? CONSUMER_END_MS_MAX : PRODUCER_END_MS_MAX, closed).catch(() => {});
      link.destroy();
    },
  };
}

/** @returns the work, one call at a time: a new link's worker waits for what the lost one's still does. */
function takeTurns<A, R>(work: (input: A) => Promise<R>): (input: A) => Promise<R> {
  let last: Promise<unknown> = Promise.resolve();
  return (input) => {
    const turn = last.then(() => work(input));
    last = turn.catch(() => {});
    return turn;
  };
}

function encode(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

function decode(text: unknown): Uint8Array | undefined {
  if (typeof text !== "string" || text.length > BATCH_CHARS_MAX || !BASE64URL.test(text)) return undefined;
  return Buffer.from(text, "base64url");
}

function decodeJob(job: unknown): Uint8Array {
  const batch = typeof job === "object" && job !== null && "batch" in job ? decode(job.batch) : undefined;
  if (batch === undefined) throw new Error("a job that is not a batch");
  return batch;
}
