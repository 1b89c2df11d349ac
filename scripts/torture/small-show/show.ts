/**
 * A small show in a directory of its own: a copy of one mint, a node a shard, a queue, a worker, guests, and the
 * account that is taken in the end. Whoever stages it starts the programs, and kills or hinders them.
 */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { formatPacket } from "../../../core/format/packet.ts";
import { signShow } from "../../../core/format/signature.ts";
import { CampaignDir, type Roots } from "../../../core/store/campaign-dir.ts";
import { readKeyFile } from "../../../core/store/keystore.ts";
import { readLedger } from "../../../core/store/ledger-reader.ts";
import { reconcile } from "../../reconcile/reconcile.ts";
import type { ReconcileReport } from "../../reconcile/report.ts";
import type { Violations } from "../experiment.ts";
import { freePort } from "../stage/free-port.ts";
import type { Minted } from "../stage/minted.ts";
import type { RedisServer } from "../stage/redis-server.ts";
import { until } from "../stage/until.ts";
import { Guests } from "./guests.ts";

const PAID_MS_MAX = 90_000;
const BURNED_PACKETS_MAX = 256;

/** Where guests come in: one node. */
export interface Door {
  /** Of the command line. */
  readonly nodeArgs: readonly string[];
  readonly nodeDir: string;
  readonly guests: Guests;
}

export class Show {
  readonly campaign: CampaignDir;
  readonly roots: Roots;
  readonly doors: readonly Door[];
  readonly workerArgs: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  private readonly violations: Violations;

  private constructor(
    minted: Minted,
    roots: Roots,
    ports: readonly number[],
    queueUrl: string,
    violations: Violations,
  ) {
    this.campaign = new CampaignDir(roots, minted.campaign);
    this.roots = roots;
    this.violations = violations;
    this.doors = ports.map((port, shard) => ({
      nodeArgs: ["node", "--campaign", minted.campaign, "--shard", `${shard}`, "--port", `${port}`],
      nodeDir: this.campaign.epoch(1).node(shard),
      guests: new Guests(`http://127.0.0.1:${port}`, violations),
    }));
    this.workerArgs = ["credit", "--campaign", minted.campaign];
    this.env = {
      SEEDS_DIR: roots.seedsDir,
      KEYS_DIR: roots.keysDir,
      DATA_DIR: roots.dataDir,
      QUEUE_URL: queueUrl,
    };
  }

  /** @param dir gets a copy of the mint; the queue is emptied */
  static async stage(
    minted: Minted,
    dir: string,
    redis: RedisServer,
    violations: Violations,
    shards = 1,
  ): Promise<Show> {
    const roots = { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
    for (const root of ["seedsDir", "keysDir"] as const)
      cpSync(minted.roots[root], roots[root], { recursive: true });
    await redis.flush();
    const ports: number[] = [];
    while (ports.length < shards) ports.push(await freePort());
    return new Show(minted, roots, ports, redis.url, violations);
  }

  /** Pushes a config in which everything is open to everybody. Repeated, it may have been taken before. */
  async air(version: number): Promise<void> {
    const open = { opensAt: "2020-01-01T00:00:00Z", closesAt: "2098-01-01T00:00:00Z", ads: [1, 2] };
    const { campaign } = this.campaign;
    const show = JSON.stringify({ campaign, version, rounds: [{ id: "all", ...open }] });
    const key = await readKeyFile("signing", this.campaign.operatorKey);
    const body = JSON.stringify({ show, signatures: [{ role: "operator", sig: signShow(key, show) }] });
    for (const { guests } of this.doors) {
      const headers = { "content-type": "application/json" };
      const { status, body: said } = await guests.insist("/v1/show", { method: "PUT", headers, body });
      this.violations.expect(
        status === 204 || said["code"] === "not_newer",
        `the show config was answered with ${status} ${JSON.stringify(said)}`,
      );
    }
  }

  /** Waits until everything that was opened is credited and the nodes know it. */
  async paid(): Promise<void> {
    const shown = this.shown().size;
    await until(() => this.credited().size >= shown, PAID_MS_MAX);
    for (const { guests } of this.doors)
      await until(async () => {
        const { body } = await guests.insist("/metrics", {});
        return /^hongbao_forward_lag_bytes\{.*\} 0$/m.test(String(body["text"]));
      }, PAID_MS_MAX);
  }

  /** What must hold in the end, whoever was killed how often. */
  async account(nodeKills: number): Promise<ReconcileReport> {
    const { violations, roots } = this;
    const report = await reconcile({ roots, campaign: this.campaign.campaign, audit: false });
    violations.expect(
      report.balanced,
      `the books do not balance: ${JSON.stringify(report.findings.slice(0, 3))}`,
    );
    violations.expect(
      report.burned.packets <= nodeKills * BURNED_PACKETS_MAX,
      `${nodeKills} kills burned ${report.burned.packets} packets`,
    );
    const [shown, credited] = [this.shown(), this.credited()].map((of) => JSON.stringify([...of].sort()));
    violations.expect(shown === credited, `shown ${shown}, but credited ${credited}`);
    return report;
  }

  /** packet -> cents that a guest was shown */
  shown(): Map<string, number> {
    return new Map(this.doors.flatMap(({ guests }) => [...guests.cents]));
  }

  /** packet -> cents in the ledger */
  credited(): Map<string, number> {
    const ledger = readLedger(this.campaign.ledger);
    try {
      return new Map([...ledger.credits()].map((row) => [formatPacket(row), row.cents]));
    } finally {
      ledger.close();
    }
  }
}
