/**
 * A show whose ledger is attacked while guests open packets: two nodes, one credit worker, and between two attacks
 * a calm in which everything that was opened is credited.
 */
import { copyFileSync, existsSync, renameSync, rmSync } from "node:fs";
import type { Violations } from "../experiment.ts";
import type { SeededRandom } from "../random.ts";
import { Show } from "../small-show/show.ts";
import type { Minted } from "../stage/minted.ts";
import { type Ended, hongbao, Program } from "../stage/program.ts";
import type { RedisServer } from "../stage/redis-server.ts";
import { until } from "../stage/until.ts";

const SHARDS = 2;
const END_MS_MAX = 30_000;
const CROWD_MAX = 10;

export class Payday {
  readonly show: Show;
  readonly random: SeededRandom;
  readonly violations: Violations;
  readonly nodes: readonly Program[];
  worker: Program;
  private guests = 0;

  private constructor(show: Show, random: SeededRandom, violations: Violations) {
    this.show = show;
    this.random = random;
    this.violations = violations;
    this.nodes = show.doors.map(({ nodeArgs }) => new Program([...nodeArgs], { ...show.env }));
    this.worker = this.newWorker();
  }

  static async begin(
    minted: Minted,
    dir: string,
    redis: RedisServer,
    random: SeededRandom,
    violations: Violations,
  ): Promise<Payday> {
    const show = await Show.stage(minted, dir, redis, violations, SHARDS);
    const day = new Payday(show, random, violations);
    await Promise.all([...day.nodes.map((node) => node.start()), day.worker.start(false)]);
    await show.air(1);
    return day;
  }

  get ledger(): string {
    return this.show.campaign.ledger;
  }

  newWorker(env: Record<string, string> = {}): Program {
    return new Program([...this.show.workerArgs], { ...this.show.env, ...env });
  }

  /** New guests at all doors; each has opened a packet when this resolves. */
  async crowd(): Promise<void> {
    const { doors } = this.show;
    const count = doors.length + this.random.below(CROWD_MAX);
    await Promise.all(
      Array.from({ length: count }, async () => {
        const number = this.guests++;
        await doors[number % doors.length]?.guests.visit(`guest-${number}`);
      }),
    );
  }

  /** Ends when everything that was opened is credited, and acknowledged. */
  async calm(): Promise<void> {
    await this.show.paid();
  }

  async startWorker(): Promise<void> {
    this.worker = this.newWorker();
    await this.worker.start(false);
  }

  async stopWorker(worker = this.worker): Promise<void> {
    await until(() => worker.stderr.includes("crediting"), END_MS_MAX);
    const code = await worker.stop();
    this.violations.expect(code === 0, `the worker ended with ${code}: ${worker.stderr}`);
  }

  /** Waits for a worker that must refuse to go on: with exit code 1 or 2, and a sentence. */
  async refuses(sentence: RegExp, worker = this.worker): Promise<void> {
    const tooLate = setTimeout(() => void worker.kill(), END_MS_MAX);
    const code = await worker.ended();
    clearTimeout(tooLate);
    const said = worker.stderr;
    this.violations.expect(code === 1 || code === 2, `the worker should have refused, it ended with ${code}`);
    this.violations.expect(sentence.test(said), `the worker should have said ${sentence}, it said: ${said}`);
  }

  async restartNodes(): Promise<void> {
    await this.stopNodes();
    await Promise.all(this.nodes.map((node) => node.start()));
  }

  async stopNodes(): Promise<void> {
    for (const node of this.nodes) {
      const code = await node.stop();
      this.violations.expect(code === 0, `a node ended with ${code}: ${node.stderr}`);
    }
  }

  /** Rebuilds a ledger at `path` from all journals. */
  async replay(path: string, env: Record<string, string> = {}): Promise<Ended> {
    const dirs = this.show.doors.map(({ nodeDir }) => nodeDir);
    const args = [...this.show.workerArgs, "--replay", ...dirs, "--json"];
    return await hongbao(args, { ...this.show.env, LEDGER_URL: path, ...env });
  }

  /** The last words of every program, for whoever must find out what happened. */
  lastWords(): string {
    const words = [...this.nodes, this.worker].map(({ stderr }) => stderr.trimEnd().split("\n").slice(-3));
    return words.flat().join("\n");
  }

  /** Kills whatever still runs. */
  async end(): Promise<void> {
    await Promise.all([...this.nodes, this.worker].map((program) => program.kill()));
  }
}

/** The ledger with its log and index, so that nothing of it is left at its place. */
export function moveLedger(from: string, to: string): void {
  for (const suffix of ["", "-wal", "-shm"]) {
    rmSync(to + suffix, { force: true });
    if (existsSync(from + suffix)) renameSync(from + suffix, to + suffix);
  }
}

/** Of a ledger that nobody has open: its log is empty. */
export function copyLedger(from: string, to: string): void {
  for (const suffix of ["-wal", "-shm"]) rmSync(to + suffix, { force: true });
  copyFileSync(from, to);
}
