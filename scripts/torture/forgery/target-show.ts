/**
 * One node and one credit worker as real processes on a real Redis, with winners that shake and open over HTTP; and
 * what can be asked of it from outside: ledger, journal, and whether both are where they should be.
 */
import Database from "better-sqlite3";
import type { Frame } from "../../../core/format/frame.ts";
import { claimQueueName } from "../../../core/format/queue-name.ts";
import { openJournalReader } from "../../../core/store/journal-reader.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import { reconcile } from "../../reconcile/reconcile.ts";
import type { ReconcileReport } from "../../reconcile/report.ts";
import type { Violations } from "../experiment.ts";
import { freePort } from "../stage/free-port.ts";
import { type Minted, mint } from "../stage/minted.ts";
import { Program } from "../stage/program.ts";
import { RedisServer } from "../stage/redis-server.ts";
import { until } from "../stage/until.ts";
import { PLANTED } from "./queue-hand.ts";

const SETTLE_MS_MAX = 60_000;
const TABLES = ["ledger", "journal", "settled_ahead", "account", "credit", "posting", "rejection"];

export interface Winner {
  readonly request: { readonly user: string; readonly device: string };
  readonly idempotencyKey: string;
  readonly shaken: string;
  readonly openBody: string;
  readonly opened: string;
}

export class TargetShow {
  readonly minted: Minted;
  readonly redis: RedisServer;
  readonly queueName: string;
  readonly node: Program;
  readonly worker: Program;
  readonly winners: Winner[] = [];
  /** packet -> cents, as the winners were told */
  readonly told = new Map<string, number>();
  private readonly url: string;
  private readonly violations: Violations;

  private constructor(
    minted: Minted,
    redis: RedisServer,
    queueName: string,
    port: number,
    violations: Violations,
  ) {
    const { seedsDir, keysDir, dataDir } = minted.roots;
    const env = { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir, QUEUE_URL: redis.url };
    const node = ["node", "--campaign", minted.campaign, "--shard", "0", "--port", `${port}`, "--open-now"];
    this.minted = minted;
    this.redis = redis;
    this.queueName = queueName;
    this.url = `http://127.0.0.1:${port}`;
    this.node = new Program(node, env);
    this.worker = new Program(["credit", "--campaign", minted.campaign], env);
    this.violations = violations;
  }

  static async start(packets: number, violations: Violations): Promise<TargetShow> {
    const minted = await mint({ packets: 2 * packets, budgetCents: 400 * packets });
    const redis = new RedisServer(await freePort());
    const { manifest } = await readManifest(minted.epochDir);
    const show = new TargetShow(minted, redis, claimQueueName(manifest), await freePort(), violations);
    try {
      await redis.start();
      await show.startPrograms();
      return show;
    } catch (error) {
      await show.remove();
      throw error;
    }
  }

  async startPrograms(): Promise<void> {
    await Promise.all([this.node.start(), this.worker.start(false)]);
    // Before its log says so, a signal finds nobody to end the worker cleanly.
    await until(() => this.worker.stderr.includes("crediting"), SETTLE_MS_MAX);
  }

  async win(users: number): Promise<void> {
    for (let i = 0; i < users; i++) {
      const number = this.winners.length;
      const request = { user: `user-${number}`, device: "phone" };
      const idempotencyKey = `key-${number}`;
      const { text: shaken } = await this.post("/v1/shake", JSON.stringify(request), idempotencyKey);
      const { token, pass } = JSON.parse(shaken) as Record<string, string>;
      const openBody = JSON.stringify({ ...request, token, pass });
      const { text: opened } = await this.post("/v1/open", openBody);
      const { packet, cents } = JSON.parse(opened) as { packet: string; cents: number };
      this.violations.expect(Number.isSafeInteger(cents), `an honest open: ${opened}`);
      this.told.set(packet, cents);
      this.winners.push({ request, idempotencyKey, shaken, openBody, opened });
    }
  }

  async post(path: string, body: string, key?: string): Promise<{ status: number; text: string }> {
    return await this.send("POST", path, body, key === undefined ? {} : { "idempotency-key": key });
  }

  async send(method: string, path: string, body: string, headers: Record<string, string> = {}) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      body,
      headers: { "content-type": "application/json", ...headers },
    });
    return { status: response.status, text: await response.text() };
  }

  /** Waits until every winner is credited, and the node knows it. */
  async settled(): Promise<void> {
    await until(() => this.rows("credit").length >= this.told.size, SETTLE_MS_MAX, 100);
    await until(() => this.isDelivered(), SETTLE_MS_MAX, 100);
  }

  /** Waits until no job waits or runs, but for those that BullMQ cannot read: it keeps them for ever. */
  async drained(): Promise<void> {
    const left = () =>
      this.redis.ask(async (redis) => {
        const lists = ["wait", "active"].map((list) => redis.lrange(`bull:${this.queueName}:${list}`, 0, -1));
        return (await Promise.all(lists)).flat().filter((id) => !id.startsWith(PLANTED));
      });
    await until(async () => (await left()).length === 0, SETTLE_MS_MAX, 100);
  }

  /** Everything that the ledger holds, in its own order. */
  ledger(): string {
    return JSON.stringify(TABLES.map((table) => this.rows(table)));
  }

  rows(table: string): unknown[] {
    const db = new Database(this.minted.epochDir.of.ledger, { readonly: true, fileMustExist: true });
    try {
      return db.prepare(`SELECT * FROM ${table}`).all();
    } finally {
      db.close();
    }
  }

  async frames(): Promise<Frame[]> {
    return (await this.entries()).map(({ frame }) => frame);
  }

  reconcile(): Promise<ReconcileReport> {
    return reconcile({ roots: this.minted.roots, campaign: this.minted.campaign, audit: false });
  }

  /** Ledger and finance must hold what the winners were told, to the cent, and nothing else. */
  async account(): Promise<void> {
    const rows = this.rows("credit") as { epoch: number; shard: number; serial: number; cents: number }[];
    const paid = new Map(rows.map((row) => [`${row.epoch}-${row.shard}-${row.serial}`, row.cents]));
    const isSame =
      paid.size === this.told.size && [...this.told].every(([id, cents]) => paid.get(id) === cents);
    this.violations.expect(
      isSame,
      `the ledger has ${paid.size} credits, ${this.told.size} packets were opened`,
    );
    const report = await this.reconcile();
    this.violations.expect(report.balanced, `the books do not balance: ${JSON.stringify(report.counts)}`);
    this.violations.expect(
      report.credited.packets === this.told.size,
      `reconcile counts ${report.credited.packets} credited packets, ${this.told.size} were opened`,
    );
  }

  /** The programs are still the ones that were started. */
  expectAlive(when: string): void {
    for (const program of [this.node, this.worker]) {
      let isAlive = true;
      try {
        process.kill(program.pid, 0);
      } catch {
        isAlive = false;
      }
      this.violations.expect(isAlive, `a program ended ${when}: ${program.stderr.slice(-500)}`);
    }
  }

  async stop(): Promise<void> {
    this.violations.expect(
      (await this.node.stop()) === 0,
      `the node did not stop cleanly: ${this.node.stderr}`,
    );
    this.violations.expect((await this.worker.stop()) === 0, "the worker did not stop cleanly");
  }

  async remove(): Promise<void> {
    await Promise.all([this.node.kill(), this.worker.kill(), this.redis.kill()]);
    this.minted.remove();
  }

  /** The last acknowledged position lies behind the last claim. */
  private async isDelivered(): Promise<boolean> {
    const entries = await this.entries();
    const claimed = entries.findLast(({ frame }) => frame.type === "claim")?.end ?? 0;
    const position = entries.findLast(({ frame }) => frame.type === "acknowledged")?.frame;
    return position?.type === "acknowledged" && position.upTo >= claimed;
  }

  private async entries() {
    const reader = await openJournalReader(this.minted.epochDir.node(0));
    try {
      const entries = [];
      for await (const entry of reader.entries()) entries.push(entry);
      return entries;
    } finally {
      await reader.close();
    }
  }
}
