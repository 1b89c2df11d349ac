/**
 * Keeps something that depends on the queue open for ever: opens it, waits until it is lost, tells, opens it
 * again. One life at a time; a life that ended never comes back.
 *
 * What must always hold: an outage is told once, however many attempts it takes, and its end once; closing
 * returns within the time that a life needs to end, also when the server is dead.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { HongbaoError } from "../format/error.ts";

/** One life: `ready` resolves to what can be used, `end` frees everything in bounded time. */
export interface Life<T> {
  readonly ready: Promise<T>;
  end(graceful: boolean): Promise<void>;
}

export interface SessionEvents {
  /** Once per outage, with a sentence for the log. */
  trouble(message: string): void;
  /** Once per outage, when it has been good for a while. */
  recovered(): void;
}

const OPEN_MS_MAX = 15_000;
const PAUSE_MS_MIN = 200;
const PAUSE_MS_MAX = 2_000;
/** A life that lasted for this long is a good one: the outage is over and the next pause is short again. */
const STEADY_MS = 500;

export class QueueSession<T> {
  readonly #place: string;
  readonly #open: (lost: (error: Error) => void) => Life<T>;
  readonly #on: SessionEvents;
  readonly #running: Promise<void>;
  readonly #waiters = new Set<() => void>();
  #current: T | undefined;
  #cut = new AbortController();
  #closing = false;
  #inTrouble = false;
  #isDoubted = false;
  #pauseMs = PAUSE_MS_MIN;

  /** @param place the server, for messages. */
  constructor(place: string, open: (lost: (error: Error) => void) => Life<T>, on: SessionEvents) {
    this.#place = place;
    this.#open = open;
    this.#on = on;
    this.#running = this.#run();
  }

  get current(): T | undefined {
    return this.#current;
  }

  /** @throws HongbaoError `queue_unavailable` when nothing is open within the time given. */
  async opened(waitMs: number): Promise<T> {
    if (this.#current === undefined && !this.#closing) await this.#nextOpening(waitMs);
    if (this.#current === undefined) {
      throw new HongbaoError("queue_unavailable", `The queue cannot be reached (${this.#place}).`);
    }
    return this.#current;
  }

  /** Ends the life in use because a call on it failed. The outage then lasts until `confirm`. */
  fail(life: T, error: unknown): void {
    if (life !== this.#current) return;
    this.#isDoubted = true;
    this.#cut.abort(error);
  }

  /** A call has succeeded. */
  confirm(): void {
    if (!this.#isDoubted) return;
    this.#isDoubted = false;
    this.#settle();
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#cut.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#closing) {
      await this.#live();
      if (this.#closing) break;
      this.#tell(this.#cut.signal.reason);
      this.#cut = new AbortController();
      await sleep(this.#pauseMs, undefined, { signal: this.#cut.signal }).catch(() => {});
      this.#pauseMs = Math.min(this.#pauseMs * 2, PAUSE_MS_MAX);
    }
    this.#wake();
  }

  async #live(): Promise<void> {
    const cut = this.#cut;
    let life: Life<T> | undefined;
    let steady: NodeJS.Timeout | undefined;
    try {
      life = this.#open((error) => cut.abort(error));
      this.#current = await within(OPEN_MS_MAX, life.ready, cut.signal);
      this.#wake();
      steady = setTimeout(() => this.#settle(), STEADY_MS);
      await aborted(cut.signal);
    } catch (error) {
      cut.abort(error);
    }
    clearTimeout(steady);
    this.#current = undefined;
    await life?.end(this.#closing);
  }

  #settle(): void {
    if (this.#isDoubted) return;
    this.#pauseMs = PAUSE_MS_MIN;
    if (!this.#inTrouble) return;
    this.#inTrouble = false;
    this.#on.recovered();
  }

  #tell(reason: unknown): void {
    if (this.#inTrouble) return;
    this.#inTrouble = true;
    this.#on.trouble(`The queue cannot be used now (${this.#place}: ${explain(reason)}); trying again.`);
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  #nextOpening(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, waitMs);
      this.#waiters.add(done);
    });
  }
}

/** Settles as the promise does, but rejects after the time given, or with the signal's reason. */
export async function within<T>(limitMs: number, promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${limitMs} ms`)), limitMs);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    if (signal?.aborted) reject(signal.reason);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Node reports a refused connection to a name with several addresses as an AggregateError without a message. */
function explain(reason: unknown): string {
  if (reason instanceof AggregateError && reason.errors.length > 0) return explain(reason.errors[0]);
  return reason instanceof Error && reason.message !== "" ? reason.message : String(reason);
}
