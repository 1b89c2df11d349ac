/**
 * One life of a simulated program, from its start to its end, however it ends. A program that was killed does nothing
 * any more: what it waited for never comes. Everything that can wake it (time, disk, network) goes through its life.
 */
import type { Clock as NodeClock } from "../../../apps/access-node/clock.ts";
import type { Clock as WorkerClock } from "../../../apps/credit-worker/clock.ts";
import type { Scheduler } from "./scheduler.ts";

export class Life {
  readonly scheduler: Scheduler;
  private over = false;
  private readonly atEnd: (() => void)[] = [];

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
  }

  get isOver(): boolean {
    return this.over;
  }

  /** What the machine does when the program is gone: it frees locks, closes files. */
  whenOver(then: () => void): void {
    this.atEnd.push(then);
  }

  end(): void {
    if (this.over) return;
    this.over = true;
    for (const then of this.atEnd) then();
  }

  /** Resolves in `ms` milliseconds, or never if the life ends before. */
  passed(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.scheduler.in(ms, () => !this.over && resolve());
    });
  }

  /** Of what happens elsewhere, this life hears only while it lasts. */
  heard<T>(elsewhere: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      elsewhere.then(
        (value) => {
          if (!this.over) resolve(value);
        },
        (error) => {
          if (!this.over) reject(error);
        },
      );
    });
  }
}

/** A wall clock that may be wrong, and may be put right or wronger at any moment. */
export class WallClock {
  private readonly scheduler: Scheduler;
  /** What it showed when the simulation began. */
  private offsetMs: number;

  constructor(scheduler: Scheduler, startMs: number) {
    this.scheduler = scheduler;
    this.offsetMs = startMs;
  }

  get nowMs(): number {
    return this.offsetMs + this.scheduler.nowMs;
  }

  jump(ms: number): void {
    this.offsetMs += ms;
  }
}

export function nodeClock(life: Life, wall: WallClock): NodeClock {
  const { scheduler } = life;
  const bornMs = scheduler.nowMs;
  return {
    wallMs: () => wall.nowMs,
    monotonicMs: () => scheduler.nowMs - bornMs,
    after: (ms, call) => {
      let isOff = false;
      scheduler.in(ms, () => !isOff && !life.isOver && call());
      return () => {
        isOff = true;
      };
    },
  };
}

export function workerClock(life: Life, stop: AbortSignal): WorkerClock {
  const { scheduler } = life;
  const stopped = () => new Error("the program was told to stop");
  return {
    nowMs: () => scheduler.nowMs,
    sleep: (ms) =>
      new Promise((resolve, reject) => {
        if (stop.aborted) return reject(stopped());
        const cut = () => reject(stopped());
        stop.addEventListener("abort", cut);
        life.passed(ms).then(() => {
          stop.removeEventListener("abort", cut);
          resolve();
        }, reject);
      }),
  };
}
