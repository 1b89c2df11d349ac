/**
 * What every show under attack stands on: a campaign of its own, Redis, a credit worker, the record of all answers,
 * and the ears that listen for secrets. Nodes and audiences are the sites' business.
 */
import { join } from "node:path";
import { claimQueueName } from "../../../core/format/queue-name.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import { Recorder } from "../audience/recorder.ts";
import type { Account, Evidence } from "../checker/check.ts";
import type { Violations } from "../experiment.ts";
import { SecretSearch } from "../secrets.ts";
import { freePort } from "../stage/free-port.ts";
import { type Minted, mint } from "../stage/minted.ts";
import { Program } from "../stage/program.ts";
import { RedisServer } from "../stage/redis-server.ts";
import { until } from "../stage/until.ts";
import { verdict } from "../verdict.ts";
import { Kept } from "./kept.ts";
import { queuedBatches } from "./queued-batches.ts";

const START_MS_MAX = 60_000;

export class Show {
  readonly minted: Minted;
  readonly redis: RedisServer;
  /** One is there from the beginning. */
  readonly worker: Kept;
  readonly recorder: Recorder;
  readonly secrets: SecretSearch;
  readonly violations: Violations;
  readonly environment: Readonly<Record<string, string>>;
  private readonly workers: Kept[] = [];
  /** Set when the experiment breaks down: everybody goes home. */
  isAbandoned = false;

  /** Mints the campaign; nothing is started yet. */
  static async prepare(campaign: object, violations: Violations): Promise<Show> {
    return new Show(await mint(campaign), new RedisServer(await freePort()), violations);
  }

  private constructor(minted: Minted, redis: RedisServer, violations: Violations) {
    const { seedsDir, keysDir, dataDir } = minted.roots;
    this.minted = minted;
    this.redis = redis;
    this.violations = violations;
    const dirs = { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir };
    this.environment = { ...dirs, QUEUE_URL: redis.url, LOG_LEVEL: "trace" };
    this.secrets = new SecretSearch(minted.epochDir, (what) => violations.add(`secret in a log: ${what}`));
    this.recorder = new Recorder(join(seedsDir, "..", "observations"));
    this.recorder.onRefusal = (text) => this.secrets.hear("refusals", text);
    this.worker = this.addWorker("worker");
  }

  /** A credit worker more; its user starts it. */
  addWorker(name: string): Kept {
    const hear = (said: Uint8Array) => this.secrets.hear(name, said);
    const program = new Program(["credit", "--campaign", this.minted.campaign], this.environment, hear);
    const worker = new Kept(program, name, this.violations, false);
    this.workers.push(worker);
    return worker;
  }

  async start(): Promise<void> {
    await this.redis.start();
    this.worker.start();
  }

  /** Everybody's nodes are stopped: stops the rest, and holds all that was seen against all that was written. */
  async settle(rules: Pick<Evidence, "nodeKills" | "rounds">): Promise<Account> {
    for (const worker of this.workers) {
      // Before it says so, SIGTERM finds nobody to end it cleanly.
      const isUp = () => worker.program.stderr.includes("crediting");
      await worker.stop(() => until(isUp, START_MS_MAX));
    }
    const { manifest } = await readManifest(this.minted.epochDir);
    const queued = await queuedBatches(this.redis, claimQueueName(manifest));
    await this.redis.kill();
    this.recorder.close();
    this.secrets.end();
    const evidence = { ...rules, observations: this.recorder.path, queued };
    return await verdict(this.minted, evidence, this.violations);
  }

  async remove(): Promise<void> {
    this.isAbandoned = true;
    await Promise.all([...this.workers.map(({ program }) => program.kill()), this.redis.kill()]);
    this.minted.remove();
  }
}
