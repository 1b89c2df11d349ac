/**
 * The wall clock of one program, moved while it runs, and the memory of where it stood: what the program may have
 * read from it between two moments follows from that, to the millisecond.
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PRELOAD = new URL("./skewed-clock.js", import.meta.url).href;

/** Both ends may have been read. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

export class MovableClock {
  private readonly dir = mkdtempSync(join(tmpdir(), "clock-"));
  private readonly file: number;
  /** An offset may have been read from just before it was written until just after the next one was. */
  private readonly past: { offsetMs: number; fromMs: number; toMs: number }[] = [];
  jumps = 0;

  constructor() {
    this.file = openSync(join(this.dir, "offset"), "w");
    this.write(0);
  }

  /** For the program that goes by this clock. */
  get environment(): Record<string, string> {
    return { NODE_OPTIONS: `--import=${PRELOAD}`, TORTURE_CLOCK: join(this.dir, "offset") };
  }

  get offsetMs(): number {
    return this.past.at(-1)?.offsetMs ?? 0;
  }

  get nowMs(): number {
    return Date.now() + this.offsetMs;
  }

  /** Sets the clock `offsetMs` away from the machine's. */
  jumpTo(offsetMs: number): void {
    this.jumps++;
    this.write(offsetMs);
  }

  /** Everything that a program may have read between two moments of the machine's clock. */
  read(fromMs: number, toMs: number): Span[] {
    return this.past
      .filter((one) => one.fromMs <= toMs && one.toMs >= fromMs)
      .map(({ offsetMs, ...one }) => ({
        fromMs: Math.max(one.fromMs, fromMs) + offsetMs,
        toMs: Math.min(one.toMs, toMs) + offsetMs,
      }));
  }

  remove(): void {
    closeSync(this.file);
    rmSync(this.dir, { recursive: true, force: true });
  }

  private write(offsetMs: number): void {
    const bytes = new DataView(new ArrayBuffer(8));
    bytes.setFloat64(0, offsetMs, true);
    const fromMs = Date.now();
    writeSync(this.file, bytes, 0, 8, 0);
    const before = this.past.at(-1);
    // Clocks tell whole milliseconds: one more is allowed for.
    if (before) before.toMs = Date.now() + 1;
    this.past.push({ offsetMs, fromMs, toMs: Number.POSITIVE_INFINITY });
  }
}
