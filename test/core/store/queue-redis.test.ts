/** Redis dies, comes back empty, is emptied, freezes, was never there. Nothing is lost that is sent again. */
import { Queue, Worker } from "bullmq";
import { describe, it, onTestFinished, vi } from "vitest";
import {
  type BatchConsumer,
  type BatchProducer,
  openBatchConsumer,
  openBatchProducer,
} from "../../../core/store/queue.ts";
import type { SessionEvents } from "../../../core/store/queue-session.ts";
import { freePort } from "../../../scripts/torture/stage/free-port.ts";
import { RedisServer } from "../../../scripts/torture/stage/redis-server.ts";
import { redisIsMissing } from "../../fakes/missing.ts";
import { ResendingProducer } from "../../fakes/resending-producer.ts";
import { contract, local } from "./queue-contract.ts";

const QUEUE = "claims";
const PATIENCE = { timeout: 20_000, interval: 20 };
/** Longer than any call of the transport may take. */
const BOUND_MS = 8_000;

describe.skipIf(redisIsMissing)("Redis", () => {
  contract(async () => {
    const server = new RedisServer(await freePort());
    await server.start();
    return local({ kind: "redis", url: server.url }, () => server.kill());
  });
});

/** Every test has a stage of its own, and most of them wait most of the time: they run side by side. */
describe.skipIf(redisIsMissing).concurrent("a Redis that fails", () => {
  it("was never there: sending fails in time, trouble is told once, closing does not hang", async ({
    expect,
  }) => {
    const stage = await newStage();
    const queue = stage.producer();
    stage.consumer(echo);
    const startedMs = performance.now();
    const refusal = /^The queue cannot be reached \(redis:/;
    await expect(queue.send("a", Buffer.from("a"))).rejects.toThrow(refusal);
    expect(await queue.depth()).toBe(null);
    expect(queue.connected).toBe(false);
    // One from the producer and one from the consumer, however many attempts there were by now.
    const trouble = expect.stringMatching(/^The queue cannot be used now \(redis:.*: connect ECONNREFUSED/);
    expect(stage.log).toEqual([trouble, trouble]);
    await stage.close();
    expect(performance.now() - startedMs).toBeLessThan(BOUND_MS);
  });

  it("comes up after its clients: they connect, and each tells once that all is well", async ({ expect }) => {
    const stage = await newStage();
    const queue = stage.producer();
    stage.consumer(echo);
    await vi.waitFor(() => expect(stage.log).toHaveLength(2), PATIENCE);
    await stage.server.start();
    await vi.waitFor(() => expect(stage.log.slice(2)).toEqual(["recovered", "recovered"]), PATIENCE);
    await queue.send("a", Buffer.from("a"));
    await vi.waitFor(() => expect(stage.acks).toEqual(["a"]), PATIENCE);
  });

  it("is killed, restarted empty and flushed, over and over: what is sent again is not lost", async ({
    expect,
  }) => {
    const stage = await newStage();
    await stage.server.start();
    const processed = new Set<string>();
    stage.consumer(async (batch) => {
      processed.add(Buffer.from(batch).toString());
      return batch;
    });
    const sender = new ResendingProducer((ack) => stage.producer(ack), 400);
    const running = sender.run();
    const flush = () => stage.server.flush();
    const killAndRestart = async () => {
      await stage.server.kill();
      await stage.server.start();
    };
    for (const [index, disaster] of [flush, killAndRestart, flush, killAndRestart].entries()) {
      // Each strikes in the middle of traffic: some acknowledged since the last one, many not.
      await vi.waitFor(() => expect(sender.acknowledged).toBeGreaterThan((index + 1) * 50), PATIENCE);
      await disaster();
    }
    await running;
    expect(sender.acknowledged).toBe(400);
    expect(processed.size).toBe(400);
    // Nothing is left behind by the links that were lost: a producer and a consumer, two connections each.
    const clients = await stage.server.ask((redis) => redis.client("LIST"));
    expect(String(clients).trim().split("\n")).toHaveLength(4 + 1);
  });

  it("freezes: calls give up, closing does not hang; after it thaws, traffic goes on", async ({ expect }) => {
    const stage = await newStage();
    await stage.server.start();
    const queue = stage.producer();
    stage.consumer(echo);
    await vi.waitFor(() => expect(queue.connected).toBe(true), PATIENCE);
    const startedMs = performance.now();
    stage.server.freeze();
    await expect(queue.send("a", Buffer.from("a"))).rejects.toThrow(/no answer within/);
    await stage.producer().close();
    expect(performance.now() - startedMs).toBeLessThan(BOUND_MS);
    stage.server.thaw();
    await vi.waitFor(async () => {
      await queue.send("a", Buffer.from("a"));
      expect(stage.acks).toContain("a");
    }, PATIENCE);
  });

  it("comes back with a clock that is behind: acknowledgements arrive again", async ({ expect }) => {
    const stage = await newStage();
    await stage.server.start();
    const queue = stage.producer();
    stage.consumer(echo);
    await vi.waitFor(() => expect(queue.connected).toBe(true), PATIENCE);
    await queue.send("before", Buffer.from("before"));
    await vi.waitFor(() => expect(stage.acks).toEqual(["before"]), PATIENCE);
    const tomorrow = `${Date.now() + 86_400_000}-0`;
    await stage.server.ask((redis) =>
      redis.xadd(`bull:${QUEUE}:events`, tomorrow, "event", "added", "jobId", "x"),
    );
    await stage.server.flush();
    await vi.waitFor(async () => {
      await queue.send("after", Buffer.from("after"));
      expect(stage.acks).toContain("after");
    }, PATIENCE);
    expect(stage.log[0]).toMatch(/its event stream has gone silent/);
  });

  it("a batch that takes longer than its lock is processed once", async ({ expect }) => {
    const stage = await newStage();
    await stage.server.start();
    const queue = stage.producer();
    let runs = 0;
    const slow = async (batch: Uint8Array) => {
      runs++;
      const startedMs = performance.now();
      // The lock lives for 5 s: we look at it until it must have been renewed.
      await vi.waitFor(async () => {
        expect(await stage.server.ask((redis) => redis.pttl(`bull:${QUEUE}:slow:lock`))).toBeGreaterThan(0);
        expect(performance.now() - startedMs).toBeGreaterThan(8_000);
      }, PATIENCE);
      return batch;
    };
    stage.consumer(slow);
    stage.consumer(slow);
    await queue.send("slow", Buffer.from("slow"));
    await vi.waitFor(() => expect(stage.acks).toEqual(["slow"]), PATIENCE);
    expect(runs).toBe(1);
  });

  it("an acknowledgement that does not come is not taken for a reader that does not hear", async ({
    expect,
  }) => {
    const stage = await newStage();
    await stage.server.start();
    await stage.producer().send("a", Buffer.from("a"));
    const startedMs = performance.now();
    await vi.waitFor(() => expect(performance.now() - startedMs).toBeGreaterThan(7_500), PATIENCE);
    expect(stage.log).toEqual([]);
  });

  it("a result that is no acknowledgement is passed over, whoever returned it", async ({ expect }) => {
    const stage = await newStage();
    await stage.server.start();
    const queue = stage.producer();
    await vi.waitFor(() => expect(queue.connected).toBe(true), PATIENCE);
    const results = [
      null,
      7,
      {},
      "no base64!",
      "A".repeat(2_000_000),
      Buffer.from("good").toString("base64url"),
    ];
    const foreign = new Worker(QUEUE, async () => results.shift(), { connection: { url: stage.server.url } });
    for (let i = results.length; i > 0; i--) await queue.send(`job-${i}`, Buffer.from("x"));
    await vi.waitFor(() => expect(stage.acks).toEqual(["good"]), PATIENCE);
    await foreign.close();
    expect(stage.log).toEqual([]);
  });

  it("a job that is not a batch is dropped", async ({ expect }) => {
    const stage = await newStage();
    await stage.server.start();
    const queue = stage.producer();
    const foreign = new Queue(QUEUE, { connection: { url: stage.server.url } });
    const tooLong = { batch: "A".repeat(2_000_000) };
    for (const data of [null, "text", {}, { batch: 1 }, { batch: "no base64!" }, tooLong]) {
      await foreign.add("foreign", data);
    }
    await foreign.close();
    let runs = 0;
    stage.consumer(async (batch) => {
      runs++;
      return batch;
    });
    await vi.waitFor(() => expect(queue.connected).toBe(true), PATIENCE);
    await vi.waitFor(async () => expect(await queue.depth()).toBe(0), PATIENCE);
    expect(runs).toBe(0);
    expect(stage.log).toEqual([]);
  });

  it("a job that is not JSON is left alone, and is no trouble of the queue", async ({ expect }) => {
    const stage = await newStage();
    await stage.server.start();
    const queue = stage.producer();
    stage.consumer(echo);
    await vi.waitFor(() => expect(queue.connected).toBe(true), PATIENCE);
    const prefix = `bull:${QUEUE}`;
    await stage.server.ask((redis) =>
      redis.hset(`${prefix}:x`, { name: "batch", data: "not JSON", opts: "{}", timestamp: "1" }),
    );
    await stage.server.ask((redis) => redis.lpush(`${prefix}:wait`, "x"));
    await vi.waitFor(
      async () =>
        expect(await stage.server.ask((redis) => redis.lrange(`${prefix}:active`, 0, -1))).toEqual(["x"]),
      PATIENCE,
    );
    await queue.send("honest", Buffer.from("honest"));
    await vi.waitFor(() => expect(stage.acks).toEqual(["honest"]), PATIENCE);
    expect(stage.log).toEqual([]);
  });
});

const echo = async (batch: Uint8Array): Promise<Uint8Array> => batch;

/** A server of its own (not started yet), its clients, and what they have said. */
async function newStage() {
  const server = new RedisServer(await freePort());
  const address = { kind: "redis", url: server.url } as const;
  const log: string[] = [];
  const acks: string[] = [];
  const open: (BatchProducer | BatchConsumer)[] = [];
  const watch: SessionEvents = {
    trouble: (message) => log.push(message),
    recovered: () => log.push("recovered"),
  };
  const keep = <T extends BatchProducer | BatchConsumer>(peer: T): T => {
    open.push(peer);
    return peer;
  };
  const stage = {
    server,
    log,
    acks,
    producer: (
      ack = (bytes: Uint8Array): unknown => acks.push(Buffer.from(bytes).toString()),
    ): BatchProducer => keep(openBatchProducer(address, QUEUE, { ...watch, ack })),
    consumer: (process: (batch: Uint8Array) => Promise<Uint8Array>): BatchConsumer =>
      keep(openBatchConsumer(address, QUEUE, process, watch)),
    close: () => Promise.all(open.map((peer) => peer.close())),
  };
  onTestFinished(async () => {
    server.thaw();
    await stage.close();
    await server.kill();
  });
  return stage;
}
