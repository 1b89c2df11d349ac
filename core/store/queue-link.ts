/**
 * One connection to the server that carries the queue, and BullMQ's objects on it.
 *
 * A link is used once: it opens, it works, and when its connection fails it is over. Nothing in it reconnects;
 * a new link takes its place (queue-session.ts). So the first connect, a server's restart, an emptied server
 * and a failover all take the one path that every start exercises, and no command waits in an offline queue
 * for a server that may never come back.
 *
 * Trusts neither the server's contents nor its presence: opening and every call are bounded.
 */
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import {
  assertSchemaCompatibility,
  type BackendFactory,
  createPostgresBackend,
  createRedisBackend,
  type IQueueBackend,
  isPgPool,
  type Job,
  type JobType,
  LATEST_SCHEMA_VERSION,
  QueueKeys,
  runMigrations,
  SchemaMigrationRequiredError,
  withBackend,
} from "bullmq";
import { Redis } from "ioredis";
import pg from "pg";
import { invariant } from "../format/error.ts";
import { openEmbeddedSocket } from "./embedded-socket.ts";
import type { QueueAddress } from "./queue-address.ts";
import type { Completion } from "./second-look.ts";

export type LinkAddress = Exclude<QueueAddress, { kind: "none" }>;

/** What our jobs carry. Anybody who reaches the server can write others, so a consumer checks it. */
interface BatchJob {
  batch: string;
}

/** As much of BullMQ's objects as we use, whatever the backend. */
interface Connected {
  waitUntilReady(): Promise<unknown>;
  close(force?: boolean): Promise<void>;
  disconnect(): Promise<void>;
}
export interface BatchQueue extends Connected {
  add(name: string, data: BatchJob, options: { jobId: string }): Promise<unknown>;
  getJobCountByTypes(...types: JobType[]): Promise<number>;
}
export interface BatchEvents extends Connected {
  on(event: "added" | "duplicated", listener: (args: unknown, id: string) => void): unknown;
  on(event: "completed", listener: (args: { returnvalue: unknown }, id: string) => void): unknown;
}
export type BatchWorker = Connected;

export interface Link {
  /** Resolves when the server has answered and has the schema that BullMQ needs. */
  ready(): Promise<void>;
  queue(name: string): BatchQueue;
  /** The event to read on from, "0" in front of the first. BullMQ's default begins at some later moment. */
  newestEvent(name: string): Promise<string>;
  events(name: string, lastEventId: string): BatchEvents;
  worker(name: string, process: (job: unknown) => Promise<string>): BatchWorker;
  /** Where the reader of events may pass some over (see second-look.ts): the completions after an event. */
  readonly completionsAfter?: (name: string, id: number) => Promise<Completion[]>;
  /** Cuts the connections at once; pending calls reject or are forgotten. */
  destroy(): void;
}

const CONNECT_MS_MAX = 5_000;
const CALL_MS_MAX = 10_000;
/** A link's reader holds one client for LISTEN for ever; its calls share the others. */
const POSTGRES_CLIENTS_MAX = 5;
/** BullMQ's own schema; its commands name no schema and its pools are expected to search this one. */
const SEARCH_PATH = "SET search_path TO bullmq";

const COMPLETIONS_MAX = 5_000;
/** How often blocked readers look for themselves, should a wake-up have been lost. */
const POLL_MS = 2_000;
const WORKER_OPTIONS = {
  concurrency: 1,
  drainDelay: POLL_MS / 1_000,
  // A worker that died is found out within the lock and two checks. BullMQ renews the lock of a live one.
  lockDuration: 5_000,
  stalledInterval: 2_500,
  // By default the second stall fails a job; ours must survive any number of dead workers.
  maxStalledCount: 1_000_000,
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 0 },
};

/** @param lost called (perhaps more than once) when the link is over. */
export function openLink(address: LinkAddress, lost: (error: Error) => void): Link {
  return address.kind === "redis" ? openRedisLink(address.url, lost) : openPostgresLink(address, lost);
}

function openRedisLink(url: string, lost: (error: Error) => void): Link {
  const clients: Redis[] = [];
  let isOver = false;
  const watch = (client: Redis): Redis => {
    let cause: Error | undefined;
    client.on("error", (error) => {
      cause = error;
    });
    client.on("close", () => lost(cause ?? new Error("the connection was closed")));
    // BullMQ's worker reconnects a client that ended, if it looks at it just before we close the worker.
    client.on("connecting", () => {
      if (isOver) client.disconnect();
    });
    clients.push(client);
    return client;
  };
  const options = { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: null };
  const main = watch(
    new Redis(url, { ...options, connectTimeout: CONNECT_MS_MAX, commandTimeout: CALL_MS_MAX }),
  );
  // BullMQ duplicates the client for its blocking reads, which must not time out, and keeps the copies to itself.
  const duplicate = main.duplicate.bind(main);
  main.duplicate = (override) => {
    const copy = watch(duplicate(override));
    delete copy.options.commandTimeout;
    return copy;
  };
  return {
    ...bind(createRedisBackend, main, lost),
    ready: () => main.connect(),
    newestEvent: async (name) => {
      const [newest] = await main.xrevrange(new QueueKeys().toKey(name, "events"), "+", "-", "COUNT", 1);
      return newest?.[0] ?? "0";
    },
    destroy: () => {
      isOver = true;
      // Disconnecting what has ended would only start a timer that keeps the process alive.
      for (const client of clients) if (client.status !== "end") client.disconnect();
    },
  };
}

function openPostgresLink(
  address: Exclude<LinkAddress, { kind: "redis" }>,
  lost: (error: Error) => void,
): Link {
  const sockets = new Set<Duplex>();
  const openSocket = (): Duplex => {
    const socket = address.kind === "embedded" ? openEmbeddedSocket() : new Socket();
    sockets.add(socket);
    return socket.once("close", () => sockets.delete(socket));
  };
  const pool = new pg.Pool({
    ...(address.kind === "embedded" ? { ssl: false } : { connectionString: address.url }),
    stream: openSocket,
    max: POSTGRES_CLIENTS_MAX,
    idleTimeoutMillis: 0,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    query_timeout: CALL_MS_MAX,
    keepAlive: true,
    application_name: "hongbao",
    // node-postgres waits for what this returns, whatever its type says.
    onConnect: (client) => client.query(SEARCH_PATH),
  });
  // A client that breaks while somebody holds it has no other listener, and would stop the process.
  pool.on("connect", (client) => client.on("error", lost));
  pool.on("error", lost);
  invariant(isPgPool(pool), "a pg.Pool is what BullMQ takes for one");
  return {
    ...bind(createPostgresBackend, pool, lost),
    ready: () => migrate(pool),
    newestEvent: (name) => newestEvent(pool, name),
    // On the embedded queue one session commits everything in order.
    ...(address.kind === "postgres" && { completionsAfter: (name, id) => completionsAfter(pool, name, id) }),
    destroy: () => {
      // So that a straggler among BullMQ's calls opens nothing new. It waits for the clients, so we do not.
      pool.end().catch(() => {});
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Looks first: an up-to-date schema needs no rights to change it. BullMQ's lock keeps several starters apart. */
async function migrate(pool: pg.Pool): Promise<void> {
  const client = await pool.connect();
  try {
    if ((await schemaVersion(client)) < LATEST_SCHEMA_VERSION) await runMigrations(client);
  } finally {
    client.release();
  }
}

async function schemaVersion(client: pg.PoolClient): Promise<number> {
  try {
    return await assertSchemaCompatibility(client);
  } catch (error) {
    if (error instanceof SchemaMigrationRequiredError) return 0;
    throw error;
  }
}

async function newestEvent(pool: pg.Pool, name: string): Promise<string> {
  const sql = "SELECT COALESCE(MAX(id), 0) AS newest FROM event WHERE queue = $1";
  const { rows } = await pool.query<{ newest: string }>(sql, [name]);
  const [row] = rows;
  invariant(row !== undefined, "a maximum has a row");
  return row.newest;
}

async function completionsAfter(pool: pg.Pool, name: string, id: number): Promise<Completion[]> {
  const { rows } = await pool.query<{ id: string; result: string }>(
    `SELECT id, data->>'returnvalue' AS result FROM event
      WHERE queue = $1 AND id > $2 AND event = 'completed' ORDER BY id LIMIT ${COMPLETIONS_MAX}`,
    [name, id],
  );
  return rows.map((row) => ({ id: Number(row.id), result: JSON.parse(row.result) }));
}

function bind<B extends IQueueBackend, C>(
  factory: BackendFactory<B, C>,
  connection: C,
  lost: (error: Error) => void,
): Pick<Link, "queue" | "events" | "worker"> {
  const { Queue, QueueEvents, Worker } = withBackend(factory);
  return {
    queue: (name) => {
      // A retained job, completed or failed, silently swallows a second one with its ID.
      const defaultJobOptions = { removeOnComplete: true, removeOnFail: true };
      const queue = new Queue<BatchJob, string>(name, { connection, defaultJobOptions });
      queue.on("error", lost);
      return queue;
    },
    events: (name, lastEventId) => {
      const events = new QueueEvents<unknown>(name, { connection, lastEventId, blockingTimeout: POLL_MS });
      events.on("error", lost);
      return events;
    },
    worker: (name, process) => {
      const options = { ...WORKER_OPTIONS, connection };
      const worker = new Worker<unknown, string>(name, (job: Job<unknown>) => process(job.data), options);
      worker.on("error", (error) => {
        if (!isAboutOneJob(error)) lost(error);
      });
      return worker;
    },
  };
}

/**
 * A job that vanished (flushed) or that another worker took over while we had it: its producer sends it again. Or
 * one that was put in by hand and is not JSON: BullMQ never gets rid of it, and the worker goes on to the next.
 */
function isAboutOneJob(error: Error): boolean {
  if (error instanceof SyntaxError) return true;
  const hasBullCode = "code" in error && typeof error.code === "number";
  return hasBullCode || error.message.startsWith("could not renew lock");
}
