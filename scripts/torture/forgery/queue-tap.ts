/**
 * Listens to a queue on Redis as anybody can who reaches the server: every batch that is put in (MONITOR) and every
 * acknowledgement that comes out (the stream of events).
 */
import { Redis } from "ioredis";
import type { RedisServer } from "../stage/redis-server.ts";

export interface TappedJob {
  /** base64url, as it stands in the job */
  readonly batch: string;
  readonly jobId: string;
}

const JOB_ID = /^s\d+-[0-9a-f]{12}-\d+-\d+-[0-9a-f]{8}$/;
const DATA = /^\{"batch":"([\w-]*)"\}$/;

export class QueueTap {
  /** Each batch once, however often it was sent. */
  private readonly batches = new Map<string, string>();
  private readonly server: RedisServer;
  private readonly queueName: string;
  private readonly client: Redis;

  private constructor(server: RedisServer, queueName: string, client: Redis) {
    this.server = server;
    this.queueName = queueName;
    this.client = client;
  }

  static async open(server: RedisServer, queueName: string): Promise<QueueTap> {
    const client = new Redis(server.url, { lazyConnect: true, retryStrategy: () => null });
    client.on("error", () => {});
    await client.connect();
    const monitor = await client.monitor();
    const tap = new QueueTap(server, queueName, monitor);
    monitor.on("monitor", (_time: string, args: string[]) => tap.hear(args));
    monitor.on("error", () => {});
    client.disconnect();
    return tap;
  }

  get jobs(): TappedJob[] {
    return [...this.batches].map(([batch, jobId]) => ({ batch, jobId }));
  }

  /** The acknowledgements that the stream still holds, as they stand in it (JSON). */
  async acknowledgements(): Promise<string[]> {
    const events = await this.server.ask((redis) => redis.xrange(`bull:${this.queueName}:events`, "-", "+"));
    return events.flatMap(([, fields]) => {
      const at = fields.indexOf("returnvalue");
      return at % 2 === 0 && fields[at + 1] !== undefined ? [fields[at + 1] ?? ""] : [];
    });
  }

  close(): void {
    this.client.disconnect();
  }

  /** A job is added by a script with its data among the arguments, and written by a command of that script. */
  private hear(args: readonly string[]): void {
    const batch = args.map((arg) => DATA.exec(arg)?.[1]).find((text) => text !== undefined);
    if (batch === undefined) return;
    const jobId = args.map((arg) => arg.split(":").at(-1) ?? "").find((arg) => JOB_ID.test(arg));
    if (jobId !== undefined) this.batches.set(batch, jobId);
  }
}
