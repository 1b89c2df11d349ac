/**
 * A whole show for those who attack its queue: two nodes and a credit worker as real processes, and a real
 * redis-server with an append-only file, which nodes and worker reach through a network of ours.
 */
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { claimQueueName } from "../../../core/format/queue-name.ts";
import { readLedger } from "../../../core/store/ledger-reader.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import { freePort } from "../stage/free-port.ts";
import { type Minted, mint } from "../stage/minted.ts";
import { Program } from "../stage/program.ts";
import { RedisServer } from "../stage/redis-server.ts";
import { TcpProxy } from "../stage/tcp-proxy.ts";
import { until } from "../stage/until.ts";

const SHARDS = 2;
const WORKER_UP_MS_MAX = 120_000;

export class Show {
  readonly minted: Minted;
  readonly redis: RedisServer;
  readonly queueName: string;
  readonly nodeNetwork: TcpProxy;
  readonly workerNetwork: TcpProxy;
  nodes: Program[] = [];
  nodeUrls: string[] = [];
  /** The one in charge; a fault may put another in its place. */
  worker: Program;
  private readonly programs: Program[] = [];
  private readonly redisDir = mkdtempSync(join(tmpdir(), "hongbao-redis-"));

  private constructor(
    minted: Minted,
    queueName: string,
    redis: RedisServer,
    networks: { readonly nodes: TcpProxy; readonly worker: TcpProxy },
  ) {
    this.minted = minted;
    this.queueName = queueName;
    this.redis = redis;
    this.nodeNetwork = networks.nodes;
    this.workerNetwork = networks.worker;
    this.worker = this.newWorker();
  }

  static async open(packets: number): Promise<Show> {
    const minted = await mint({ packets, budgetCents: packets * 100, shards: SHARDS });
    const { manifest } = await readManifest(minted.epochDir);
    const redis = new RedisServer(await freePort());
    const networks = { nodes: await TcpProxy.open(redis.port), worker: await TcpProxy.open(redis.port) };
    const show = new Show(minted, claimQueueName(manifest), redis, networks);
    try {
      await show.startRedis();
      await Promise.all([show.startNodes(), show.startWorker(show.worker)]);
      return show;
    } catch (error) {
      await show.close();
      throw error;
    }
  }

  get environment(): Record<string, string> {
    const { seedsDir, keysDir, dataDir } = this.minted.roots;
    return { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir };
  }

  /** With whatever its append-only file holds. */
  async startRedis(): Promise<void> {
    await this.redis.start(["--dir", this.redisDir, "--appendonly", "yes", "--appendfsync", "everysec"]);
  }

  /** The next start of Redis finds nothing. */
  forgetRedis(): void {
    rmSync(this.redisDir, { recursive: true, force: true });
    mkdirSync(this.redisDir);
  }

  /** What Redis has written down so far, in a directory of its own. */
  copyOfRedis(): string {
    const copy = `${this.redisDir}-copy`;
    rmSync(copy, { recursive: true, force: true });
    cpSync(this.redisDir, copy, { recursive: true });
    return copy;
  }

  /** The next start of Redis finds what this copy holds. */
  restoreRedis(copy: string): void {
    rmSync(this.redisDir, { recursive: true, force: true });
    renameSync(copy, this.redisDir);
  }

  newWorker(): Program {
    const env = { ...this.environment, QUEUE_URL: `redis://127.0.0.1:${this.workerNetwork.port}` };
    const worker = new Program(["credit", "--campaign", this.minted.campaign], env);
    this.programs.push(worker);
    return worker;
  }

  async startWorker(worker: Program): Promise<void> {
    await worker.start(false);
    await until(() => worker.stderr.includes("crediting"), WORKER_UP_MS_MAX);
  }

  /** Packets in the ledger. */
  credited(): number {
    const ledger = readLedger(this.minted.epochDir.of.ledger);
    try {
      return ledger.totals().packets;
    } finally {
      ledger.close();
    }
  }

  /** What a program said that could not go on. */
  lastWords(): string {
    const lines = this.programs.flatMap(({ stderr }) => stderr.split("\n"));
    return lines.find((line) => /"level":60|^hongbao: /.test(line)) ?? "no program has failed";
  }

  async close(): Promise<void> {
    await Promise.all(this.programs.map((program) => program.kill()));
    await Promise.all([this.nodeNetwork.close(), this.workerNetwork.close()]);
    await this.redis.kill();
    for (const dir of [this.redisDir, `${this.redisDir}-copy`]) rmSync(dir, { recursive: true, force: true });
    this.minted.remove();
  }

  private async startNodes(): Promise<void> {
    const env = { ...this.environment, QUEUE_URL: `redis://127.0.0.1:${this.nodeNetwork.port}` };
    this.nodes = Array.from({ length: SHARDS }, (_, shard) => {
      const args = ["node", "--campaign", this.minted.campaign, "--shard", `${shard}`, "--port", "0"];
      return new Program([...args, "--open-now", "--json"], env);
    });
    this.programs.push(...this.nodes);
    const lines = await Promise.all(this.nodes.map((node) => node.start()));
    this.nodeUrls = lines.map((line) => (JSON.parse(line) as { url: string }).url);
  }
}
