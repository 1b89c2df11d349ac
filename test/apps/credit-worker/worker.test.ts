/** The worker as a program: on a real Redis, through its outages, to its end. */
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { type CreditWorkerOptions, runCreditWorker } from "../../../apps/credit-worker/worker.ts";
import { claimQueueName } from "../../../core/format/queue-name.ts";
import { CampaignDir } from "../../../core/store/campaign-dir.ts";
import { type BatchProducer, openBatchProducer } from "../../../core/store/queue.ts";
import { freePort } from "../../../scripts/torture/stage/free-port.ts";
import { RedisServer } from "../../../scripts/torture/stage/redis-server.ts";
import {
  contents,
  faults,
  reading,
  refused,
  tamper,
  temporaryDirectory,
} from "../../core/store/ledger-world.ts";
import { redisIsMissing } from "../../fakes/missing.ts";
import { Mint, rootsIn } from "./mint.ts";
import { listeningLog } from "./stage.ts";

const PATIENCE = { timeout: 20_000, interval: 20 };
const generous = { perUser: 1000, perAd: 1000 };

describe.skipIf(redisIsMissing)("a running worker", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = new RedisServer(await freePort());
    await server.start();
  });
  afterAll(() => server.kill());

  /** Every test has a campaign, and so a queue, of its own. */
  async function stage(campaign: string, more: Partial<CreditWorkerOptions> = {}) {
    const mint = new Mint({ campaign, lanePackets: 500, quota: generous });
    const roots = rootsIn(temporaryDirectory());
    await mint.publish(roots);
    const { log, lines } = listeningLog();
    const queue = { kind: "redis" as const, url: server.url };
    const worker = await runCreditWorker({ roots, campaign, queue, ...more }, { log });
    worker.done.catch(() => {});
    onTestFinished(() => worker.stop());
    const acks: Uint8Array[] = [];
    const producer = openBatchProducer(queue, claimQueueName(mint.manifest), {
      ack: (ack) => void acks.push(ack),
      trouble: () => {},
      recovered: () => {},
    });
    onTestFinished(() => producer.close());
    const path = new CampaignDir(roots, campaign).ledger;
    return { mint, worker, lines, acks, producer, path };
  }

  it("credits what it is sent, acknowledges it, and stops cleanly", async () => {
    const { mint, worker, lines, acks, producer, path } = await stage("worker-plain");
    await send(producer, mint, 4, 100);
    await vi.waitFor(() => expect(acks).toHaveLength(4), PATIENCE);
    expect(worker.stats()).toMatchObject({ batches: 4, created: 400, exists: 0 });
    await worker.stop();
    await worker.done;
    expect(contents(path).totals.packets).toBe(400);
    expect(faults(path)).toEqual([]);
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
      [40, "a new ledger was made: all nodes will deliver from their beginning"],
      [30, "TEST campaign: crediting"],
    ]);
  });

  it("drops a forged batch without an acknowledgement, and goes on with the next", async () => {
    const { mint, worker, acks, producer } = await stage("worker-forged");
    const batch = mint.batch(0, [mint.claim(0, 1, "ann")]);
    await producer.send(
      "forged",
      batch.map((byte, i) => (i === 80 ? byte ^ 1 : byte)),
    );
    await producer.send("good", batch);
    await vi.waitFor(() => expect(acks).toHaveLength(1), PATIENCE);
    expect(worker.stats()).toMatchObject({ batches: 1, created: 1, dropped: { forged: 1 } });
    // A dropped job is gone: the same job can be sent again at once.
    await producer.send("forged", batch);
    await vi.waitFor(() => expect(acks).toHaveLength(2), PATIENCE);
  });

  it("waits for a locked ledger without acknowledging, then goes on", async () => {
    const { mint, worker, lines, acks, producer, path } = await stage("worker-locked");
    const shell = new Database(path);
    shell.exec("BEGIN IMMEDIATE");
    await send(producer, mint, 2, 10);
    await vi.waitFor(() => expect(lines.some(({ msg }) => msg.includes("is locked"))).toBe(true), PATIENCE);
    expect(acks).toEqual([]);
    shell.exec("ROLLBACK");
    shell.close();
    await vi.waitFor(() => expect(acks).toHaveLength(2), PATIENCE);
    expect(worker.stats()).toMatchObject({ created: 20 });
    expect(lines.filter(({ msg }) => msg.includes("is locked"))).toHaveLength(1);
  });

  it("a ledger that fails ends it: nothing acknowledged, the reason in done, the batch not lost", async () => {
    const { mint, worker, lines, acks, producer, path } = await stage("worker-corrupt");
    tamper(path, "ALTER TABLE posting RENAME TO elsewhere");
    await send(producer, mint, 2, 10);
    expect((await refused(worker.done)).code).toBe("corrupt_ledger");
    await worker.stop();
    expect(acks).toEqual([]);
    expect(lines.filter(({ level }) => level === 60)).toHaveLength(1);
    tamper(path, "ALTER TABLE elsewhere RENAME TO posting");
    expect(reading(path, (ledger) => ledger.totals().packets)).toBe(0);
  });

  it("stops in bounded time in the middle of a slow batch; what was credited is found later", async () => {
    const { mint, worker, acks, producer, path } = await stage("worker-slow", { rate: 20 });
    await send(producer, mint, 1, 500);
    await vi.waitFor(() => expect(worker.stats().created).toBeGreaterThan(1), PATIENCE);
    const stopAtMs = performance.now();
    await worker.stop();
    expect(performance.now() - stopAtMs).toBeLessThan(12_000);
    expect(acks).toEqual([]);
    const { packets } = contents(path).totals;
    expect(packets).toBe(worker.stats().created);
    expect(packets).toBeLessThan(500);
    expect(faults(path)).toEqual([]);
  });

  it("needs a queue and a rate above zero", async () => {
    const base = { roots: rootsIn(temporaryDirectory()), campaign: "none" };
    const { log } = listeningLog();
    const none = await refused(runCreditWorker({ ...base, queue: { kind: "none" } }, { log }));
    expect([none.code, none.message]).toEqual(["invalid_queue_url", expect.stringMatching(/set QUEUE_URL/)]);
    for (const rate of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const queue = { kind: "redis" as const, url: server.url };
      expect((await refused(runCreditWorker({ ...base, queue, rate }, { log }))).code).toBe("usage");
    }
  });
});

describe.skipIf(redisIsMissing)("a queue that is away", () => {
  it("is waited for, with one warning an outage; the batch is credited when it comes", async () => {
    const server = new RedisServer(await freePort());
    onTestFinished(() => server.kill());
    const mint = new Mint({ campaign: "worker-away" });
    const roots = rootsIn(temporaryDirectory());
    await mint.publish(roots);
    const { log, lines } = listeningLog();
    const queue = { kind: "redis" as const, url: server.url };
    const ledgerUrl = join(temporaryDirectory(), "elsewhere.db");
    const worker = await runCreditWorker({ roots, campaign: "worker-away", queue, ledgerUrl }, { log });
    onTestFinished(() => worker.stop());
    const warnings = () => lines.filter(({ level, msg }) => level === 40 && msg.includes("queue"));
    await vi.waitFor(() => expect(warnings()).toHaveLength(1), PATIENCE);
    await server.start();
    const acks: Uint8Array[] = [];
    const on = { ack: (ack: Uint8Array) => void acks.push(ack), trouble: () => {}, recovered: () => {} };
    const producer = openBatchProducer(queue, claimQueueName(mint.manifest), on);
    onTestFinished(() => producer.close());
    await producer.send("batch", mint.batch(0, [mint.claim(0, 1, "ann")]));
    await vi.waitFor(() => expect(acks).toHaveLength(1), PATIENCE);
    expect(warnings()).toHaveLength(1);
    expect(contents(ledgerUrl).totals.packets).toBe(1);
  });
});

async function send(producer: BatchProducer, mint: Mint, batches: number, claims: number): Promise<void> {
  for (let i = 0; i < batches; i++) {
    const serials = Array.from({ length: claims }, (_, n) => i * claims + n);
    const batch = serials.map((serial) => mint.claim(0, serial, `u${serial % 17}`));
    await producer.send(`batch-${i}`, mint.batch(0, batch, { from: i, to: i + 1 }));
  }
}
