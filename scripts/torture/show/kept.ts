/**
 * A program that is killed again and again, and started again each time, perhaps while it is still starting. That it
 * does not come up again by itself is a violation.
 */
import type { Violations } from "../experiment.ts";
import type { Program } from "../stage/program.ts";

export class Kept {
  kills = 0;
  readonly program: Program;
  private readonly name: string;
  private readonly violations: Violations;
  private readonly waitForLine: boolean;
  private life = 0;
  private up: Promise<unknown> = Promise.resolve();
  private killing: Promise<void> = Promise.resolve();

  constructor(program: Program, name: string, violations: Violations, waitForLine = true) {
    this.program = program;
    this.name = name;
    this.violations = violations;
    this.waitForLine = waitForLine;
  }

  start(): void {
    const life = ++this.life;
    this.up = this.program.start(this.waitForLine).catch((error: unknown) => {
      if (life === this.life) this.violations.add(`${this.name} did not start: ${String(error)}`);
    });
  }

  /** SIGKILL, and a new start at once. Who kills it at the same time waits: each kill meets a life of its own. */
  kill(): Promise<void> {
    this.killing = this.killing.then(() => this.killNow());
    return this.killing;
  }

  /** SIGTERM once it is up; a clean stop ends with 0. */
  async stop(isUp: () => Promise<unknown>): Promise<void> {
    await this.killing;
    await this.up;
    await isUp();
    const code = await this.program.stop();
    this.violations.expect(code === 0, `${this.name} was stopped and ended with ${code}`);
  }

  private async killNow(): Promise<void> {
    this.kills++;
    this.life++;
    await this.program.kill();
    this.start();
  }
}
