/**
 * Crediting in this process, without a queue: the worker's own books and code on a real ledger, its log listened to,
 * and a transport that hands each batch over and brings the answer back.
 */
import { pino } from "pino";
import { type Books, openBooks } from "../../../apps/credit-worker/books.ts";
import { systemClock } from "../../../apps/credit-worker/clock.ts";
import { type CreditAnswer, Crediting } from "../../../apps/credit-worker/credit.ts";
import { Pace } from "../../../apps/credit-worker/pace.ts";
import type { BatchProducer } from "../../../core/store/queue.ts";
import type { Minted } from "../stage/minted.ts";

export class Settlement {
  readonly books: Books;
  readonly crediting: Crediting;
  /** Self-made tokens that the log has raised an alarm about. */
  alarmed = 0;
  /** The ledger cannot go on: a real worker would have stopped. */
  failure: unknown;

  private constructor(books: Books) {
    this.books = books;
    const clock = systemClock(new AbortController().signal);
    const log = pino({ level: "error" }, { write: (line: string) => this.hear(line) });
    this.crediting = new Crediting(books, { pace: new Pace(undefined, clock), clock, log });
  }

  static async of(minted: Minted): Promise<Settlement> {
    const clock = systemClock(new AbortController().signal);
    const epoch = minted.epochDir.epoch;
    return new Settlement(await openBooks({ roots: minted.roots, campaign: minted.campaign, epoch }, clock));
  }

  /** @returns undefined if it failed */
  async credit(batch: Uint8Array): Promise<CreditAnswer | undefined> {
    try {
      return await this.crediting.credit(batch);
    } catch (error) {
      this.failure = error;
      return undefined;
    }
  }

  /** @param ack what the node does with an answer */
  transport(ack: (bytes: Uint8Array) => void): BatchProducer {
    return {
      send: async (_jobId, batch) => {
        const answer = await this.credit(batch);
        if (answer !== undefined && answer.outcome !== "dropped") ack(answer.ack);
      },
      depth: async () => 0,
      connected: true,
      close: async () => {},
    };
  }

  close(): void {
    this.books.ledger.close();
  }

  private hear(line: string): void {
    const { badChecksums } = JSON.parse(line) as { badChecksums?: number };
    this.alarmed += badChecksums ?? 0;
  }
}
