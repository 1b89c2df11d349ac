/** PostgreSQL crashes, restarts, loses the schema; several programs meet an empty database at once. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type BatchConsumer,
  type BatchProducer,
  openBatchConsumer,
  openBatchProducer,
} from "../../../core/store/queue.ts";
import type { SessionEvents } from "../../../core/store/queue-session.ts";
import { freePort } from "../../../scripts/torture/stage/free-port.ts";
import { PostgresServer, postgresIsMissing } from "../../fakes/postgres-server.ts";
import { ResendingProducer } from "../../fakes/resending-producer.ts";
import { contract, local } from "./queue-contract.ts";

const QUEUE = "claims";
const PATIENCE = { timeout: 20_000, interval: 20 };

describe.skipIf(postgresIsMissing)("PostgreSQL", () => {
  let server: PostgresServer;
  let log: string[];
  const open = new Set<BatchProducer | BatchConsumer>();
  const watch: SessionEvents = {
    trouble: (message) => log.push(message),
    recovered: () => log.push("recovered"),
  };

  beforeAll(async () => {
    server = new PostgresServer(await freePort());
    await server.start();
  });

  beforeEach(() => {
    log = [];
  });

  afterEach(async () => {
    await Promise.all([...open].map((peer) => peer.close()));
    open.clear();
  });

  afterAll(() => server?.remove());

  function producer(ack: (ack: Uint8Array) => void = () => {}): BatchProducer {
    const queue = openBatchProducer({ kind: "postgres", url: server.url }, QUEUE, { ...watch, ack });
    open.add(queue);
    return queue;
  }

  function consumer(process: (batch: Uint8Array) => Promise<Uint8Array>): BatchConsumer {
    const queue = openBatchConsumer({ kind: "postgres", url: server.url }, QUEUE, process, watch);
    open.add(queue);
    return queue;
  }

  describe("while it is up", () => {
    contract(async () => local({ kind: "postgres", url: server.url }, async () => {}));
  });

  it("several programs that meet an empty database at once all get to work", async () => {
    await server.ask("DROP SCHEMA IF EXISTS bullmq CASCADE");
    const producers = Array.from({ length: 4 }, () => producer());
    consumer(async (batch) => batch);
    consumer(async (batch) => batch);
    await vi.waitFor(() => expect(producers.every((queue) => queue.connected)).toBe(true), PATIENCE);
    expect(log).toEqual([]);
  });

  it("no acknowledgement stays behind when jobs are added and completed at the same time", async () => {
    const acks = new Set<string>();
    const queue = producer((ack) => acks.add(Buffer.from(ack).toString()));
    consumer(async (batch) => batch);
    await vi.waitFor(() => expect(queue.connected).toBe(true), PATIENCE);
    const lanes = Array.from({ length: 8 }, async (_, lane) => {
      for (let i = 0; i < 40; i++) await queue.send(`j-${lane}-${i}`, Buffer.from(`${lane}-${i}`));
    });
    await Promise.all(lanes);
    await vi.waitFor(() => expect(acks.size).toBe(320), PATIENCE);
    expect(log).toEqual([]);
  });

  it("crashes again and again: a producer that sends again loses nothing, and wake-ups come back", async () => {
    const processed = new Set<string>();
    consumer(async (batch) => {
      processed.add(Buffer.from(batch).toString());
      return batch;
    });
    const sender = new ResendingProducer((ack) => producer(ack), 150);
    const running = sender.run();
    for (const threshold of [30, 60]) {
      await vi.waitFor(() => expect(sender.acknowledged).toBeGreaterThan(threshold), PATIENCE);
      await server.crash();
      await server.start();
    }
    await running;
    expect(sender.acknowledged).toBe(150);
    expect(processed.size).toBe(150);
    // Without LISTEN each of these would wait for the readers' next look, two seconds apart.
    const startedMs = performance.now();
    const tail = new ResendingProducer((ack) => producer(ack), 20);
    await tail.run();
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  it("is down: sending fails within seconds, depth is unknown, trouble is told once, closing does not hang", async () => {
    const queue = producer();
    consumer(async (batch) => batch);
    await vi.waitFor(() => expect(queue.connected).toBe(true), PATIENCE);
    await server.crash();
    try {
      const startedMs = performance.now();
      await expect(queue.send("a", Buffer.from("a"))).rejects.toThrow();
      await vi.waitFor(() => expect(log).toHaveLength(2), PATIENCE);
      await expect(queue.send("a", Buffer.from("a"))).rejects.toThrow(/cannot be reached/);
      expect(await queue.depth()).toBe(null);
      expect(queue.connected).toBe(false);
      await Promise.all([...open].map((peer) => peer.close()));
      expect(log).toHaveLength(2);
      expect(performance.now() - startedMs).toBeLessThan(12_000);
    } finally {
      await server.start();
    }
  });

  it("has a schema that only a later BullMQ understands: it is left alone, until it is put back", async () => {
    const first = producer();
    await vi.waitFor(() => expect(first.connected).toBe(true), PATIENCE);
    await server.ask("UPDATE bullmq.migration SET min_client_version = min_client_version + 90");
    const queue = producer();
    await vi.waitFor(() => expect(log).toHaveLength(1), PATIENCE);
    expect(log[0]).toMatch(/requires BullMQ major version 9\d or newer/);
    await expect(queue.send("a", Buffer.from("a"))).rejects.toThrow(/cannot be reached/);
    await server.ask("UPDATE bullmq.migration SET min_client_version = min_client_version - 90");
    await vi.waitFor(() => expect(log).toEqual([expect.any(String), "recovered"]), PATIENCE);
  });

  it("loses the schema under our feet: it is made again", async () => {
    const acks: string[] = [];
    const queue = producer((ack) => acks.push(Buffer.from(ack).toString()));
    consumer(async (batch) => batch);
    await vi.waitFor(() => expect(queue.connected).toBe(true), PATIENCE);
    await server.ask("DROP SCHEMA bullmq CASCADE");
    await vi.waitFor(async () => {
      await queue.send("a", Buffer.from("a"));
      expect(acks).toContain("a");
    }, PATIENCE);
    await vi.waitFor(
      () => expect(log.filter((line) => line === "recovered")).toHaveLength(log.length / 2),
      PATIENCE,
    );
  });
});
