/**
 * A program that dies where it is told to, once a life, and is started again at once, until it is stopped.
 */
import { join } from "node:path";
import { Program } from "../stage/program.ts";
import { until } from "../stage/until.ts";
import type { LastCall, Life } from "./last-call.ts";
import type { Point } from "./point.ts";

const READY_MS_MAX = 60_000;

/** Where each life of a program ends, in order; undefined: its calls are noted, and it lives. */
export type Lives = readonly (Point | undefined)[];

interface MortalOptions {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** What its log says when it is up. */
  readonly upWhen: string;
  /** Watched for calls. */
  readonly below: string;
  /** Where the lives are noted: not below `below`. */
  readonly logs: string;
}

export class Mortal {
  readonly lives: Life[] = [];
  /** How the last life ended, if by itself. */
  readonly end: Promise<number | NodeJS.Signals | null>;
  private readonly options: MortalOptions;
  private readonly lastCall: LastCall;
  private readonly fates: Lives;
  private program: Program;
  private hasEnded = false;
  private isOver = false;

  constructor(options: MortalOptions, lastCall: LastCall, fates: Lives) {
    this.options = options;
    this.lastCall = lastCall;
    this.fates = fates;
    this.program = new Program([], {});
    this.end = this.live().finally(() => {
      this.hasEnded = true;
    });
    // Whoever waits for it hears of a failure; until then it is nobody's.
    this.end.catch(() => {});
  }

  get kills(): number {
    return this.lives.filter(({ wasKilled }) => wasKilled).length;
  }

  get stderr(): string {
    return this.program.stderr;
  }

  /** Stops it cleanly; where that kills it, starts it again and stops it again. @returns the exit code */
  async stop(): Promise<number | NodeJS.Signals | null> {
    for (;;) {
      await until(() => this.hasEnded || this.program.stderr.includes(this.options.upWhen), READY_MS_MAX);
      const { program } = this;
      if (!this.hasEnded) await program.stop();
      // Either that was its end, or it was killed and lives again.
      await until(() => this.hasEnded || this.program !== program, READY_MS_MAX);
      if (this.hasEnded) return await this.end;
    }
  }

  /** For the end of a performance that failed: it must not outlive it. */
  async destroy(): Promise<void> {
    if (this.hasEnded) return;
    this.isOver = true;
    await this.program.kill().catch(() => {});
    await this.end.catch(() => {});
  }

  private async live(): Promise<number | NodeJS.Signals | null> {
    for (;;) {
      const number = this.lives.length;
      const { args, env, below, logs } = this.options;
      const log = join(logs, `${args[0]}-life-${number}.log`);
      const watched =
        number < this.fates.length
          ? this.lastCall.environment(below, log, this.fates[number])
          : { env: {}, life: () => ({ calls: [], wasKilled: false }) };
      this.program = new Program([...args], { ...env, ...watched.env });
      await this.program.start(false);
      const end = await this.program.ended();
      const life = watched.life();
      this.lives.push(life);
      if (this.isOver || !life.wasKilled || end !== "SIGKILL") return end;
    }
  }
}
