/**
 * A show with its audience while faults befall it, and what can be seen of it: who was credited so far, and what
 * the faults did.
 */
import { until } from "../stage/until.ts";
import type { Crowd } from "./crowd.ts";
import type { Show } from "./show.ts";

const CREDIT_MS_MAX = 60_000;

export class Scene {
  readonly show: Show;
  readonly crowd: Crowd;
  /** That the faults were real. */
  readonly happened = {
    jobsBack: 0,
    outOfMemory: 0,
    cuts: 0,
    takeovers: 0,
    pausedInTransaction: 0,
    redelivered: 0,
  };
  readonly drains: Drain[] = [];

  constructor(show: Show, crowd: Crowd) {
    this.show = show;
    this.crowd = crowd;
  }

  /** Opens that users have seen and the ledger has not. */
  get backlog(): number {
    return this.crowd.opened.size - this.show.credited();
  }

  /** The slowest drain. */
  get worst(): Drain | undefined {
    return [...this.drains].sort((a, b) => a.creditsPerSecond - b.creditsPerSecond)[0];
  }

  /** Resolves when so many more packets have been credited. */
  async nextCredits(packets: number): Promise<void> {
    const goal = this.show.credited() + packets;
    await until(() => this.show.credited() >= goal, CREDIT_MS_MAX);
  }
}

/** How a backlog was worked off while users went on opening. */
export interface Drain {
  readonly backlog: number;
  readonly arrivalsPerSecond: number;
  readonly creditsPerSecond: number;
}
