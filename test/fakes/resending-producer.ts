/**
 * What a node's forwarder does, reduced to its promise: every batch is sent again until it is acknowledged.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { BatchProducer } from "../../core/store/queue.ts";

const IN_FLIGHT_MAX = 8;
const RESEND_AFTER_MS = 700;

export class ResendingProducer {
  readonly #queue: BatchProducer;
  readonly #unacknowledged: Set<string>;
  readonly #total: number;
  readonly #sentAtMs = new Map<string, number>();

  constructor(open: (ack: (ack: Uint8Array) => void) => BatchProducer, total: number) {
    this.#total = total;
    this.#unacknowledged = new Set(Array.from({ length: total }, (_, index) => `batch-${index}`));
    this.#queue = open((ack) => this.#unacknowledged.delete(Buffer.from(ack).toString()));
  }

  get acknowledged(): number {
    return this.#total - this.#unacknowledged.size;
  }

  /** Returns when everything has been acknowledged. */
  async run(): Promise<void> {
    while (this.#unacknowledged.size > 0) {
      const due = [...this.#unacknowledged].slice(0, IN_FLIGHT_MAX).filter((id) => this.#isDue(id));
      await Promise.all(due.map((id) => this.#send(id)));
      await sleep(5);
    }
  }

  #isDue(id: string): boolean {
    const sentAtMs = this.#sentAtMs.get(id);
    return sentAtMs === undefined || performance.now() - sentAtMs > RESEND_AFTER_MS;
  }

  async #send(id: string): Promise<void> {
    this.#sentAtMs.set(id, performance.now());
    // A refusal is an answer like any other: the batch stays unacknowledged.
    await this.#queue.send(id, Buffer.from(id)).catch(() => {});
  }
}
