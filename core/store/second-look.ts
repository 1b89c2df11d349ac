/**
 * Finds the results that BullMQ's reader of events passes over on PostgreSQL.
 *
 * There an event draws its number before its transaction commits, and the reader goes on from the highest number
 * that it has met: an event that commits after a higher one is never read. Under load that is one or two
 * acknowledgements in a hundred, each of which would wait for its batch to be sent again. So what completed in
 * the last moments is read once more, a moment later, and what had been missed is delivered.
 *
 * No promise: an event that commits later still stays lost, as anything in the transport may be.
 */
export interface Completion {
  /** The event's number. */
  readonly id: number;
  readonly result: unknown;
}

export class SecondLook {
  readonly #readAfter: (id: number) => Promise<Completion[]>;
  readonly #deliver: (result: unknown) => void;
  readonly #delivered = new Set<number>();
  #highest = 0;
  /** Where the reader was one look ago, and two looks ago: from there each look begins. */
  #lastLook: number | undefined;
  #lookBefore: number | undefined;
  #isLooking = false;

  constructor(readAfter: (id: number) => Promise<Completion[]>, deliver: (result: unknown) => void) {
    this.#readAfter = readAfter;
    this.#deliver = deliver;
  }

  /** The reader has come to this event; `isCompletion` when it has delivered a result. */
  passed(id: number, isCompletion: boolean): void {
    this.#lastLook ??= id - 1;
    this.#lookBefore ??= id - 1;
    this.#highest = Math.max(this.#highest, id);
    if (isCompletion) this.#delivered.add(id);
  }

  /** To be called again and again. @throws what reading throws. */
  async look(): Promise<void> {
    const from = this.#lookBefore;
    if (from === undefined || from === this.#highest || this.#isLooking) return;
    this.#isLooking = true;
    try {
      const reached = this.#highest;
      for (const { id, result } of await this.#readAfter(from)) {
        if (id > reached || this.#delivered.has(id)) continue;
        this.#delivered.add(id);
        this.#deliver(result);
      }
      this.#lookBefore = this.#lastLook;
      this.#lastLook = reached;
      for (const id of this.#delivered) if (id <= from) this.#delivered.delete(id);
    } finally {
      this.#isLooking = false;
    }
  }
}
