/** The embedded queue's one session, shared by forked processes that wait, die and speak at once. */
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type EmbeddedQueue, startEmbeddedQueue } from "../../../core/store/embedded-queue.ts";
import { openEmbeddedSocket } from "../../../core/store/embedded-socket.ts";
import { openBatchConsumer, openBatchProducer } from "../../../core/store/queue.ts";
import { forkConsumer, forkProducer } from "../../fakes/embedded-peers.ts";
import { OwnChild } from "../../fakes/own-child.ts";
import { contract } from "./queue-contract.ts";

const FAKES = join(import.meta.dirname, "../../fakes");
const PATIENCE = { timeout: 20_000, interval: 20 };

let queue: EmbeddedQueue;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  queue = await startEmbeddedQueue();
});

afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await queue.close();
});

/** They share the one session, which is the point: they run side by side. */
describe.concurrent("clients in several processes", () => {
  it("have values as node-postgres has them", async () => {
    const client = await newClient();
    const { answers } = client;
    client.run(
      `SELECT 1::int AS int, 2::bigint AS big, '{"a":[1]}'::jsonb AS json, array['x','y"z'] AS list, true AS bool,
              null AS nil, $1::text[] AS texts, $2::jsonb AS object, $3::text AS text`,
      [["a", 'b"c\\d', ""], { deep: [1, null] }, "π \u{1F9E7}"],
    );
    await vi.waitFor(() => expect(answers).toHaveLength(1), PATIENCE);
    expect(answers[0]).toEqual({
      rows: [
        {
          int: 1,
          big: "2",
          json: { a: [1] },
          list: ["x", 'y"z'],
          bool: true,
          nil: null,
          texts: ["a", 'b"c\\d', ""],
          object: { deep: [1, null] },
          text: "π \u{1F9E7}",
        },
      ],
    });
  });

  it("get errors with their code, and go on", async () => {
    const client = await newClient();
    client.run("SELECT 1/$1::int", [0]);
    client.run("nonsense");
    client.run("SELECT 1 AS one");
    await vi.waitFor(() => expect(client.answers).toHaveLength(3), PATIENCE);
    expect(client.answers).toEqual([{ failed: "22012" }, { failed: "42601" }, { rows: [{ one: 1 }] }]);
  });

  it("a transaction has the session to itself, and all wait for its end", async () => {
    const [a, b] = await Promise.all([newClient(), newClient()]);
    for (const sql of ["CREATE TABLE public.t1 (x int)", "BEGIN", "INSERT INTO public.t1 VALUES (1)"])
      a.run(sql);
    await vi.waitFor(() => expect(a.answers).toHaveLength(3), PATIENCE);
    b.run("SELECT x FROM public.t1");
    for (let i = 0; i < 20; i++) a.run("SELECT 1");
    await vi.waitFor(() => expect(a.answers).toHaveLength(23), PATIENCE);
    expect(b.answers).toEqual([]);
    a.run("COMMIT");
    await vi.waitFor(() => expect(b.answers).toEqual([{ rows: [{ x: 1 }] }]), PATIENCE);
  });

  it("a child that dies in a transaction is rolled back, and the others go on", async () => {
    const [a, b] = await Promise.all([newClient(), newClient()]);
    for (const sql of ["CREATE TABLE public.t2 (x int)", "BEGIN", "INSERT INTO public.t2 VALUES (1)"])
      a.run(sql);
    await vi.waitFor(() => expect(a.answers).toHaveLength(3), PATIENCE);
    b.run("SELECT x FROM public.t2");
    a.child.kill("SIGKILL");
    await vi.waitFor(() => expect(b.answers).toEqual([{ rows: [] }]), PATIENCE);
  });

  it("a notification reaches those that listen in other processes", async () => {
    const [a, b] = await Promise.all([newClient(), newClient()]);
    a.run("LISTEN news");
    await vi.waitFor(() => expect(a.answers).toHaveLength(1), PATIENCE);
    b.run("NOTIFY news, 'hello'");
    await vi.waitFor(() => expect(a.notifications).toContain("news hello"), PATIENCE);
  });

  it("what went through leaves nothing behind in the host's memory", async () => {
    const client = await newClient();
    const before = heapBytes();
    for (let i = 0; i < 6; i++) client.run("SELECT length(repeat('x', 2000000)), repeat('x', 2000000)");
    await vi.waitFor(() => expect(client.answers).toHaveLength(6), PATIENCE);
    client.answers.length = 0;
    expect(heapBytes() - before).toBeLessThan(6_000_000);
  });

  it("a worker killed in the middle of a batch: the next one gets that batch", async () => {
    const acks: string[] = [];
    const producer = forkProducer(queue, "killed", {
      ...SILENT,
      ack: (ack) => acks.push(Buffer.from(ack).toString()),
    });
    let begun = 0;
    const doomed = forkConsumer(queue, "killed", () => new Promise(() => begun++), SILENT);
    await vi.waitFor(() => expect(producer.connected).toBe(true), PATIENCE);
    await producer.send("a", Buffer.from("a"));
    await vi.waitFor(() => expect(begun).toBe(1), PATIENCE);
    doomed.child.kill("SIGKILL");
    const consumer = forkConsumer(queue, "killed", async (batch) => batch, SILENT);
    await vi.waitFor(() => expect(acks).toEqual(["a"]), PATIENCE);
    await Promise.all([producer.close(), consumer.close()]);
  });

  it("without a process that forked it, a program is told what to do", () => {
    const script = `import { openBatchProducer } from "./dist/core/store/queue.js";
      try { openBatchProducer({ kind: "embedded" }, "q", {}) } catch (e) { console.log(e.name, e.code, e.message) }`;
    const { NODE_CHANNEL_FD, ...env } = process.env;
    const options = { cwd: join(FAKES, "../.."), env, encoding: "utf8" } as const;
    const output = execFileSync(process.execPath, ["--input-type=module", "-e", script], options);
    expect(output).toMatch(
      /^HongbaoError queue_unavailable The embedded queue lives in the process that forks/,
    );
  });
});

describe("the embedded queue", () => {
  contract(async () => ({
    producer: (queueName, on) => forkProducer(queue, queueName, on),
    consumer: (queueName, process, on) => forkConsumer(queue, queueName, process, on),
    stop: async () => {},
  }));
});

/** The same sockets, with both sides in one process: what a fork hides can be looked at here. */
describe("clients in this process", () => {
  let child: OwnChild;
  const clients: pg.Client[] = [];
  beforeEach(() => {
    child = new OwnChild();
    queue.attach(child.process);
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end();
    child.disconnect();
    child.remove();
  });

  async function connect(): Promise<pg.Client> {
    const client = new pg.Client({ stream: openEmbeddedSocket, ssl: false });
    await client.connect();
    clients.push(client);
    return client;
  }

  it("carry a batch there and its acknowledgement back", async () => {
    const acks: string[] = [];
    const ack = (bytes: Uint8Array) => acks.push(Buffer.from(bytes).toString());
    const producer = openBatchProducer({ kind: "embedded" }, "own", { ...SILENT, ack });
    const consumer = openBatchConsumer({ kind: "embedded" }, "own", async (batch) => batch, SILENT);
    await vi.waitFor(() => expect(producer.connected).toBe(true), PATIENCE);
    await producer.send("a", Buffer.from("a"));
    await vi.waitFor(() => expect(acks).toEqual(["a"]), PATIENCE);
    await Promise.all([producer.close(), consumer.close()]);
  });

  it("a socket that is closed in a transaction is rolled back, and the same child's others go on", async () => {
    const [a, b] = [await connect(), await connect()];
    await a.query("CREATE TABLE public.t3 (x int)");
    await a.query("BEGIN");
    await a.query("INSERT INTO public.t3 VALUES (1)");
    const waiting = b.query("SELECT x FROM public.t3");
    await a.end();
    clients.splice(clients.indexOf(a), 1);
    expect((await waiting).rows).toEqual([]);
    expect((await b.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
  });

  it("a child whose channel is down is not written to", async () => {
    const client = await connect();
    client.on("error", () => {});
    const send = vi.spyOn(child, "send");
    child.connected = false;
    const answer = client.query("SELECT 1").catch(() => {});
    await vi.waitFor(() => expect(child.said.at(-1)?.hongbaoQueue).toBe("ask"), PATIENCE);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(send).not.toHaveBeenCalled();
    child.disconnect();
    await answer;
    clients.splice(0);
  });

  it("dead rows are cleared away once enough has gone through", async () => {
    const client = await connect();
    const vacuums = async () => {
      const sql = "SELECT vacuum_count::int AS count FROM pg_stat_all_tables WHERE relname = 'job'";
      return (await client.query<{ count: number }>(sql)).rows[0]?.count;
    };
    const before = await vacuums();
    for (let i = 0; i < 17; i++) await client.query("SELECT length($1)", ["x".repeat(1024 * 1024)]);
    expect(await vacuums()).toBeGreaterThan(before ?? 0);
  });
});

describe("the host", () => {
  it("closes: sending fails within seconds, trouble is told once, the child ends by itself", async () => {
    const troubles: string[] = [];
    const on = { ...SILENT, ack: () => {}, trouble: (message: string) => troubles.push(message) };
    const producer = forkProducer(queue, "orphaned", on);
    await vi.waitFor(() => expect(producer.connected).toBe(true), PATIENCE);
    await queue.close();
    await vi.waitFor(() => expect(troubles).toHaveLength(1), PATIENCE);
    expect(troubles[0]).toMatch(/^The queue cannot be used now \(the embedded queue: /);
    await expect(producer.send("b", Buffer.from("b"))).rejects.toThrow(/cannot be reached/);
    expect(await producer.depth()).toBe(null);
    await producer.close();
    expect(troubles).toHaveLength(1);
  });
});

/** What is in use after a collection. */
function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}

const SILENT = { ack: () => {}, trouble: () => {}, recovered: () => {} };

interface Client {
  readonly child: ChildProcess;
  readonly answers: unknown[];
  /** Everybody's: the session is shared, and so is what it listens to. */
  readonly notifications: string[];
  run(sql: string, values?: unknown[]): void;
}

async function newClient(): Promise<Client> {
  const child = fork(join(FAKES, "sql-child.mjs"));
  children.add(child);
  queue.attach(child);
  const answers: unknown[] = [];
  const notifications: string[] = [];
  child.on("message", (message: object) => {
    if ("notification" in message) notifications.push(String(message.notification));
    else if (!("hongbaoQueue" in message)) answers.push(message);
  });
  await vi.waitFor(() => expect(answers).toEqual([{ rows: "ready" }]), PATIENCE);
  answers.length = 0;
  return { child, answers, notifications, run: (sql, values) => child.send({ sql, values }) };
}
