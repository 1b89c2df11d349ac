/**
 * How slow the machine itself is at the moment: the time that a timer and a sync of a small file of ours take. A
 * machine that everybody uses stands still now and then, and whoever stands still with it proves nothing.
 */
import { rmSync } from "node:fs";
import { mkdtemp, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const PAUSE_MS = 100;
/** What was slow this long ago may still have somebody waiting for it. */
const REMEMBERED_MS = 5_000;

export class MachinePace {
  private readonly seen: { readonly atMs: number; readonly tookMs: number }[] = [];
  private stopping = false;
  private running: Promise<void> | undefined;

  start(): void {
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.running;
  }

  /** The slowest moment of the last seconds, or of now. */
  get slowestMs(): number {
    return Math.max(0, ...this.seen.map(({ tookMs }) => tookMs));
  }

  private async run(): Promise<void> {
    const dir = await mkdtemp(join(tmpdir(), "hongbao-pace-"));
    const file = await open(join(dir, "probe"), "w");
    try {
      while (!this.stopping) {
        const begunMs = performance.now();
        await sleep(PAUSE_MS);
        await file.write("probe", 0);
        await file.datasync();
        const nowMs = performance.now();
        this.seen.push({ atMs: nowMs, tookMs: nowMs - begunMs - PAUSE_MS });
        while ((this.seen[0]?.atMs ?? nowMs) < nowMs - REMEMBERED_MS) this.seen.shift();
      }
    } finally {
      await file.close();
      rmSync(dir, { recursive: true });
    }
  }
}
