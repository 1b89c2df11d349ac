/**
 * A credit worker through as many lives as it is given: the product's crediting on the real ledger file, with the
 * simulated queue and clock.
 */
import { pino } from "pino";
import { type Books, openBooks } from "../../../apps/credit-worker/books.ts";
import { type CreditWorker, startCrediting } from "../../../apps/credit-worker/worker.ts";
import { HongbaoError } from "../../../core/format/error.ts";
import type { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";
import { SIMULATED_ROOTS } from "./deck.ts";
import { Life, workerClock } from "./life.ts";
import { lifeDisk } from "./life-disk.ts";
import type { Surroundings } from "./surroundings.ts";

const QUIET = pino({ level: "silent" });
const HABITS = { slowMsMax: 1, fault: () => undefined };

export class SimulatedWorker {
  readonly name: string;
  private readonly world: Surroundings;
  private readonly rate: number | undefined;
  private readonly disk: SimulatedDisk;
  private life: Life | undefined;
  private books: Books | undefined;
  private worker: CreditWorker | undefined;

  /** @param rate credits a second; undefined: as fast as it goes */
  constructor(world: Surroundings, number: number, rate: number | undefined) {
    this.world = world;
    this.name = `worker-${number}`;
    this.rate = rate;
    this.disk = world.deck.disk.copy();
  }

  get isDown(): boolean {
    return this.life === undefined;
  }

  start(): void {
    if (this.life !== undefined) return;
    const { world } = this;
    const life = new Life(world.scheduler);
    this.life = life;
    const cut = new AbortController();
    const clock = workerClock(life, cut.signal);
    const options = {
      roots: { ...SIMULATED_ROOTS, disk: lifeDisk(this.disk, life, HABITS, world.random) },
      campaign: world.deck.campaign,
      ledgerUrl: world.ledger.path,
    };
    openBooks(options, clock)
      .then((books) => {
        if (life.isOver) return books.ledger.close();
        this.books = books;
        const consume = (process: (batch: Uint8Array) => Promise<Uint8Array>) =>
          world.queue.consumer(this.name, life, (batch) => this.watched(process(batch)));
        this.worker = startCrediting(books, this.rate, { log: QUIET, clock, cut, consume });
        this.worker.done.catch((error: unknown) => this.fail(life, error));
        world.log.add(this.name, "is crediting");
      })
      .catch((error: unknown) => this.fail(life, error));
  }

  /** kill -9, between two transactions: SQLite's own crashes are SQLite's. */
  kill(): void {
    if (this.life === undefined) return;
    this.world.tallies.count("worker killed");
    this.end(this.life, "killed");
  }

  async stop(): Promise<void> {
    const { life, worker } = this;
    if (life === undefined || worker === undefined) return;
    await life.heard(worker.stop());
    this.books = undefined;
    this.end(life, "stopped");
  }

  /** What the ledger says is looked at after every batch. */
  private async watched(answer: Promise<Uint8Array>): Promise<Uint8Array> {
    try {
      return await answer;
    } finally {
      this.world.ledger.look();
    }
  }

  private fail(life: Life, error: unknown): void {
    if (life.isOver) return;
    const what = error instanceof HongbaoError ? error.code : String(error);
    this.world.violations.add(`${this.name} stopped for no reason: ${what}`);
    this.end(life, "failed");
  }

  private end(life: Life, how: string): void {
    if (life.isOver) return;
    life.end();
    this.books?.ledger.close();
    this.life = undefined;
    this.books = undefined;
    this.worker = undefined;
    this.world.log.add(this.name, `is gone: ${how}`);
  }
}
