/**
 * One shard, the machine that serves it by right, its audience, a credit worker and a ledger; and, for a while,
 * somebody else who would serve the same packets.
 */
import { join } from "node:path";
import { pino } from "pino";
import { replayJournals } from "../../../apps/credit-worker/replay.ts";
import { readLedger } from "../../../core/store/ledger-reader.ts";
import { reconcile } from "../../reconcile/reconcile.ts";
import type { Violations } from "../experiment.ts";
import type { SeededRandom } from "../random.ts";
import { mintInto } from "../stage/minted.ts";
import { Program } from "../stage/program.ts";
import type { RedisServer } from "../stage/redis-server.ts";
import { until } from "../stage/until.ts";
import { Audience } from "./audience.ts";
import { Machine, type Start, start } from "./machine.ts";

const WAIT_MS_MAX = 60_000;
/** What a node says that serves without a ledger's word. */
export const NO_WORD = "no ledger has answered";

export interface SceneWorld {
  readonly random: SeededRandom;
  readonly redis: RedisServer;
  readonly violations: Violations;
}

export class Scene {
  readonly first: Machine;
  readonly random: SeededRandom;
  readonly audience = new Audience("guest");
  /** At the node that should not be. */
  readonly strangers = new Audience("stranger");
  /** No ledger can be heard, or not by the other node: what it hands out is counted, but no surprise. */
  isBlind = false;
  /** Refusals that came after the node had given up waiting for the ledger's word. */
  late = 0;
  private readonly kind: string;
  private readonly world: SceneWorld;
  private readonly programs: Program[] = [];
  private readonly machines: Machine[] = [];
  private worker: Program | undefined;

  private constructor(kind: string, first: Machine, world: SceneWorld) {
    this.kind = kind;
    this.first = this.keep(first);
    this.world = world;
    this.random = world.random;
  }

  /** @param campaign every scene has one, and so a queue, of its own */
  static async open(kind: string, campaign: string, world: SceneWorld): Promise<Scene> {
    const scene = new Scene(kind, Machine.empty(campaign), world);
    await mintInto(scene.first.dir, { campaign });
    return scene;
  }

  get queue(): Record<string, string> {
    return { QUEUE_URL: this.world.redis.url };
  }

  /** Apart from the data directory, which may be lost. */
  get ledgerPath(): string {
    return join(this.first.dir, "ledger.db");
  }

  /** Removed in the end. */
  keep(machine: Machine): Machine {
    this.machines.push(machine);
    return machine;
  }

  expect(holds: boolean, otherwise: string): void {
    this.world.violations.expect(holds, `${this.kind}: ${otherwise}`);
  }

  /** Any number, so that it happens in another moment each time. */
  few(): number {
    return 2 + this.random.below(6);
  }

  async startWorker(): Promise<void> {
    const { worker } = this;
    if (worker) await worker.start(false);
    else this.worker = await this.startNewWorker(this.first);
  }

  async killWorker(): Promise<void> {
    await this.worker?.kill();
  }

  /** The worker of another machine, on this ledger. */
  newWorker(machine: Machine): Program {
    const env = { ...machine.environment, ...this.queue, LEDGER_URL: this.ledgerPath };
    const worker = new Program(["credit", "--campaign", machine.campaign, "--json"], env);
    this.programs.push(worker);
    return worker;
  }

  /** @param env `this.queue`, or nothing for a node without one */
  async begin(machine: Machine, env: Record<string, string>, shard = 0): Promise<Start> {
    const program = machine.node(shard, env);
    this.programs.push(program);
    return await start(program);
  }

  /** Starts the node by right, which must serve a few more users. */
  async serve(env: Record<string, string>): Promise<Start> {
    const started = await this.begin(this.first, env);
    if (started.refused) throw new Error(`the right node was refused: ${started.refused.message}`);
    await this.audience.visit(started.url, this.few());
    return started;
  }

  /** The start must have ended with exit code 1 and a sentence that says why, before anything left the node. */
  async expectRefusal(started: Start, code: string, sentence: RegExp): Promise<void> {
    const { refused, program } = started;
    if (refused === undefined && program.stderr.includes(NO_WORD)) {
      // The machine was too slow for an answer in time: then it stops at the answer.
      this.late++;
      await this.expectStop(started, sentence);
      return;
    }
    if (refused === undefined) {
      await this.strangers.visit(started.url, 3).catch(() => {});
      this.expect(false, `it was not refused, and handed out ${this.strangers.given.size} packets`);
      return;
    }
    const said = `${refused.code}: ${refused.message}`;
    this.expect(refused.code === code && sentence.test(refused.message), `refused with "${said}"`);
    const exitCode = await program.ended();
    this.expect(exitCode === 1, `refused with exit code ${exitCode}`);
  }

  /** A node that serves must stop by itself, and say why. */
  async expectStop({ program }: Start, sentence: RegExp): Promise<void> {
    const late = new Promise<string>((resolve) => setTimeout(resolve, WAIT_MS_MAX, "late").unref());
    const code = await Promise.race([program.ended(), late]);
    const reason = program.stderr.split("\n").find((line) => line.startsWith("hongbao: ")) ?? "no reason";
    this.expect(code === 1 && sentence.test(reason), `stopped with ${code}: ${reason}`);
  }

  /** Resolves when the ledger has every open of the audience. */
  async credited(): Promise<void> {
    await until(() => this.creditedPackets() >= this.audience.opened.size, WAIT_MS_MAX);
  }

  /** Serials that the audience and strangers both hold. */
  get handedOutTwice(): number[] {
    return [...this.strangers.given.keys()].filter((serial) => this.audience.given.has(serial));
  }

  /** Holds what users saw against the ledger, and lets production close the books. */
  async settle(): Promise<void> {
    if (this.worker) await this.credited();
    else await this.replay();
    if (!this.isBlind)
      for (const serial of this.handedOutTwice) this.expect(false, `packet ${serial} was handed out twice`);
    const lost = new Map(this.audience.opened);
    const ledger = readLedger(this.ledgerPath);
    for (const { serial, user, cents } of ledger.credits()) {
      const shown = lost.get(serial);
      this.expect(shown?.user === user && shown.cents === cents, `packet ${serial} is credited to ${user}`);
      lost.delete(serial);
    }
    ledger.close();
    for (const serial of lost.keys()) this.expect(false, `packet ${serial} was opened and is not credited`);
    const { roots, campaign } = this.first;
    const books = await reconcile({ roots, campaign, ledgerUrl: this.ledgerPath, audit: false });
    this.expect(books.balanced, `the books do not balance: ${JSON.stringify(books.counts)}`);
  }

  async close(): Promise<void> {
    await Promise.all(this.programs.map((program) => program.kill()));
    for (const machine of this.machines) machine.remove();
  }

  private async startNewWorker(machine: Machine): Promise<Program> {
    const worker = this.newWorker(machine);
    await worker.start(false);
    await until(() => worker.stderr.includes("crediting"), WAIT_MS_MAX);
    return worker;
  }

  private creditedPackets(): number {
    const ledger = readLedger(this.ledgerPath);
    try {
      return ledger.totals().packets;
    } finally {
      ledger.close();
    }
  }

  private async replay(): Promise<void> {
    const { roots, campaign, epochDir } = this.first;
    const log = pino({ level: "silent" });
    await replayJournals({ roots, campaign, ledgerUrl: this.ledgerPath, dirs: [epochDir.node(0)] }, { log });
  }
}
