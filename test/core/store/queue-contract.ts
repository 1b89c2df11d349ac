/** What holds on every backend. The test files of Redis, PostgreSQL and the embedded queue call it. */
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import {
  BATCH_BYTES_MAX,
  type BatchConsumer,
  type BatchProducer,
  openBatchConsumer,
  openBatchProducer,
  type ProducerEvents,
} from "../../../core/store/queue.ts";
import type { LinkAddress } from "../../../core/store/queue-link.ts";
import type { SessionEvents } from "../../../core/store/queue-session.ts";

type Process = (batch: Uint8Array) => Promise<Uint8Array>;

export interface Transport {
  producer(queueName: string, on: ProducerEvents): BatchProducer;
  consumer(queueName: string, process: Process, on: SessionEvents): BatchConsumer;
  stop(): Promise<void>;
}

/** Peers in this process, and what stops the server. */
export function local(address: LinkAddress, stop: () => Promise<void>): Transport {
  return {
    producer: (queueName, on) => openBatchProducer(address, queueName, on),
    consumer: (queueName, process, on) => openBatchConsumer(address, queueName, process, on),
    stop,
  };
}

export function contract(start: () => Promise<Transport>): void {
  let transport: Transport;
  let queueNumber = 0;
  let queueName = "";
  const open = new Set<BatchProducer | BatchConsumer>();
  const troubles: string[] = [];
  const watch: SessionEvents = { trouble: (message) => troubles.push(message), recovered: () => {} };

  beforeAll(async () => {
    transport = await start();
  });

  afterEach(async () => {
    await Promise.all([...open].map((peer) => peer.close()));
    open.clear();
    expect(troubles).toEqual([]);
    queueNumber++;
  });

  afterAll(() => transport?.stop());

  async function producer(): Promise<{ acks: string[]; queue: BatchProducer }> {
    queueName = `claims-${queueNumber}`;
    const acks: string[] = [];
    const queue = transport.producer(queueName, { ...watch, ack: (ack) => acks.push(text(ack)) });
    open.add(queue);
    await vi.waitFor(() => expect(queue.connected).toBe(true), PATIENCE);
    return { acks, queue };
  }

  function consumer(process: Process): BatchConsumer {
    const queue = transport.consumer(queueName, process, watch);
    open.add(queue);
    return queue;
  }

  it("carries batches there and acknowledgements back, to every producer", async () => {
    const [a, b] = await Promise.all([producer(), producer()]);
    consumer(async (batch) => bytes(`ack ${batch.length} ${batch[0] ?? "-"}`));
    const sizes = [0, 1, 2, 3, 1000, BATCH_BYTES_MAX];
    await Promise.all(
      sizes.map((size) => a.queue.send(`job-${size}`, new Uint8Array(size).fill(size % 251))),
    );
    const expected = sizes.map((size) => `ack ${size} ${size === 0 ? "-" : size % 251}`).sort();
    await vi.waitFor(() => expect([...a.acks].sort()).toEqual(expected), PATIENCE);
    await vi.waitFor(() => expect([...b.acks].sort()).toEqual(expected), PATIENCE);
    expect(await a.queue.depth()).toBe(0);
  });

  it("keeps every byte", async () => {
    const { queue, acks } = await producer();
    consumer(async (batch) => bytes(Buffer.from(batch).toString("hex")));
    const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    await queue.send("all-bytes", all);
    await vi.waitFor(() => expect(acks).toEqual([Buffer.from(all).toString("hex")]), PATIENCE);
  });

  it("refuses a batch above the limit and an ID that BullMQ would mistake", async () => {
    const { queue } = await producer();
    await expect(queue.send("big", new Uint8Array(BATCH_BYTES_MAX + 1))).rejects.toThrow(
      /at most 1048576 bytes/,
    );
    for (const id of ["12", "-5", "a:b", "", "x".repeat(129)]) {
      await expect(queue.send(id, bytes("x"))).rejects.toThrow(/can be a job ID/);
    }
  });

  it("a job sent again while it waits or runs is one job; after it completed it runs again", async () => {
    const { queue, acks } = await producer();
    for (let i = 0; i < 3; i++) await queue.send("same", bytes("waits"));
    expect(await queue.depth()).toBe(1);
    const gate = newGate();
    let runs = 0;
    consumer(async () => {
      runs++;
      await gate.opened;
      return bytes(`run ${runs}`);
    });
    await vi.waitFor(() => expect(runs).toBe(1), PATIENCE);
    for (let i = 0; i < 3; i++) await queue.send("same", bytes("runs"));
    expect(await queue.depth()).toBe(1);
    gate.open();
    await vi.waitFor(() => expect(acks).toEqual(["run 1"]), PATIENCE);
    await vi.waitFor(async () => expect(await queue.depth()).toBe(0), PATIENCE);
    await queue.send("same", bytes("completed"));
    await vi.waitFor(() => expect(acks).toEqual(["run 1", "run 2"]), PATIENCE);
  });

  it("a batch whose processing throws is dropped without an acknowledgement, and can be sent again", async () => {
    const { queue, acks } = await producer();
    let runs = 0;
    consumer(async () => {
      if (++runs === 1) throw new Error("the ledger is busy");
      return bytes("credited");
    });
    await queue.send("unlucky", bytes("x"));
    await vi.waitFor(() => expect(runs).toBe(1), PATIENCE);
    await vi.waitFor(async () => expect(await queue.depth()).toBe(0), PATIENCE);
    expect(acks).toEqual([]);
    await queue.send("unlucky", bytes("x"));
    await vi.waitFor(() => expect(acks).toEqual(["credited"]), PATIENCE);
    expect(runs).toBe(2);
  });

  it("processes one batch at a time, in order, and closing lets the one in hand finish", async () => {
    const { queue, acks } = await producer();
    for (const id of ["a", "b", "c"]) await queue.send(id, bytes(id));
    const gate = newGate();
    const begun: string[] = [];
    const worker = consumer(async (batch) => {
      begun.push(text(batch));
      if (begun.length === 2) await gate.opened;
      return batch;
    });
    await vi.waitFor(() => expect(begun).toEqual(["a", "b"]), PATIENCE);
    const closed = worker.close();
    open.delete(worker);
    gate.open();
    await closed;
    await vi.waitFor(() => expect(acks).toEqual(["a", "b"]), PATIENCE);
    expect(begun).toEqual(["a", "b"]);
    consumer(async (batch) => batch);
    await vi.waitFor(() => expect(acks).toEqual(["a", "b", "c"]), PATIENCE);
  });
}

const PATIENCE = { timeout: 15_000, interval: 20 };

function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

function newGate(): { opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}
