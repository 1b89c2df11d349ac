/**
 * The credit worker as a running program: batches from the queue, one at a time, into the ledger, and their
 * acknowledgements back.
 *
 * It waits for what comes back by itself (the queue for ever, a locked ledger as well). Any other failure of
 * the ledger ends it: nothing more is acknowledged, and `done` rejects with the reason.
 */
import type { Logger } from "pino";
import { HongbaoError } from "../../core/format/error.ts";
import { claimQueueName } from "../../core/format/queue-name.ts";
import { type BatchConsumer, openBatchConsumer } from "../../core/store/queue.ts";
import type { QueueAddress } from "../../core/store/queue-address.ts";
import { type Books, type BooksOptions, openBooks } from "./books.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Crediting, type CreditStats } from "./credit.ts";
import { Pace } from "./pace.ts";

export interface CreditWorkerOptions extends BooksOptions {
  readonly queue: QueueAddress;
  /** Credits a second; without it, as fast as it goes. */
  readonly rate?: number | undefined;
}

export interface CreditWorker {
  /** Finishes the batch in hand (or cuts it between two slices after some seconds), then closes the ledger. */
  stop(): Promise<void>;
  stats(): CreditStats;
  /** Resolves once stopped; rejects if the ledger failed, when the worker has stopped itself. */
  readonly done: Promise<void>;
}

/** What crediting runs on: handed in, so that an experiment can hold queue and time in its hand. */
export interface CreditingWorld {
  readonly log: Logger;
  readonly clock: Clock;
  /** Ends every wait of `clock`. */
  readonly cut: AbortController;
  /** Begins to hand batches over, one at a time; see `openBatchConsumer`. */
  readonly consume: (process: (batch: Uint8Array) => Promise<Uint8Array>) => BatchConsumer;
}

/** How long a paced batch may go on after a stop; what is cut off is sent again and found to exist. */
const STOP_WAIT_MS_MAX = 5000;

/** @throws HongbaoError before the first batch: `usage`, `invalid_queue_url`, and whatever `openBooks` refuses */
export async function runCreditWorker(
  options: CreditWorkerOptions,
  world: { readonly log: Logger },
): Promise<CreditWorker> {
  const { queue, rate } = options;
  if (rate !== undefined && !(Number.isFinite(rate) && rate > 0))
    throw new HongbaoError("usage", "the rate is a number of credits a second, above 0");
  if (queue.kind === "none")
    throw new HongbaoError("invalid_queue_url", "a credit worker needs a queue: set QUEUE_URL");
  const cut = new AbortController();
  const clock = systemClock(cut.signal);
  const books = await openBooks(options, clock);
  const { log } = world;
  announce(books, log);
  const consume: CreditingWorld["consume"] = (process) =>
    openBatchConsumer(queue, claimQueueName(books.manifest), process, {
      trouble: (message) => log.warn(message),
      recovered: () => log.info("the queue is reachable again"),
    });
  return startCrediting(books, rate, { log, clock, cut, consume });
}

/** @param rate credits a second; without it, as fast as it goes */
export function startCrediting(books: Books, rate: number | undefined, world: CreditingWorld): CreditWorker {
  return new RunningWorker(books, rate, world);
}

class RunningWorker implements CreditWorker {
  readonly done: Promise<void>;
  private readonly books: Books;
  private readonly world: CreditingWorld;
  private readonly crediting: Crediting;
  private readonly consumer: BatchConsumer;
  private finish: () => void = () => {};
  private inHand: Promise<unknown> = Promise.resolve();
  private failure: { readonly error: unknown } | undefined;
  private stopping: Promise<void> | undefined;

  constructor(books: Books, rate: number | undefined, world: CreditingWorld) {
    const { clock, log } = world;
    this.books = books;
    this.world = world;
    this.crediting = new Crediting(books, { pace: new Pace(rate, clock), clock, log });
    this.done = new Promise((resolve, reject) => {
      this.finish = () => (this.failure ? reject(this.failure.error) : resolve());
    });
    this.consumer = world.consume((batch) => this.process(batch));
  }

  stats(): CreditStats {
    return structuredClone(this.crediting.stats);
  }

  stop(): Promise<void> {
    this.stopping ??= this.end();
    return this.stopping;
  }

  /** A batch for which this throws is a failed job: removed, not acknowledged, sent again by its node. */
  private async process(batch: Uint8Array): Promise<Uint8Array> {
    if (this.failure || this.stopping) throw new Error("the credit worker is stopping");
    const work = this.crediting.credit(batch);
    this.inHand = work.catch(() => {});
    try {
      const answer = await work;
      if (answer.outcome !== "dropped") return answer.ack;
    } catch (error) {
      if (!this.world.cut.signal.aborted) this.fail(error);
      throw error;
    }
    throw new Error("the batch was dropped");
  }

  private fail(error: unknown): void {
    if (this.failure) return;
    this.failure = { error };
    this.world.log.fatal({ err: error }, "crediting has stopped: nothing more is acknowledged");
    void this.stop();
  }

  private async end(): Promise<void> {
    const { clock, cut } = this.world;
    clock.sleep(STOP_WAIT_MS_MAX).then(
      () => cut.abort(),
      () => {},
    );
    try {
      await this.consumer.close();
      // The ledger must outlive the last transaction.
      await this.inHand;
      this.books.ledger.close();
    } catch (error) {
      this.failure ??= { error };
    } finally {
      // Nobody is left to be cut off: the wait above ends too.
      cut.abort();
    }
    this.finish();
  }
}

function announce({ manifest, ledger }: Books, log: Logger): void {
  const { campaign, mode, epoch } = manifest;
  const about = { campaign, epoch, mode: mode.toUpperCase(), ledger: ledger.path };
  if (ledger.wasCreated)
    log.warn(about, "a new ledger was made: all nodes will deliver from their beginning");
  log.info(about, mode === "test" ? "TEST campaign: crediting" : "crediting");
}
