/**
 * A hand in the queue: puts jobs and completed events into Redis as somebody does who reaches the server, with BullMQ's
 * own commands where they serve, and without where they do not.
 */
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import type { RedisServer } from "../stage/redis-server.ts";

const AT_ONCE = 100;
/** How the IDs of jobs begin that BullMQ would never make. */
export const PLANTED = "planted-";

/** What a job may hold: ours have a batch, somebody else's anything. */
export interface PutJob {
  readonly name?: string;
  readonly data: unknown;
}

export class QueueHand {
  private readonly redis: Redis;
  private readonly queue: Queue;
  private readonly queueName: string;
  private count = 0;

  constructor(server: RedisServer, queueName: string) {
    this.redis = new Redis(server.url, { maxRetriesPerRequest: null });
    this.queue = new Queue(queueName, { connection: this.redis });
    this.queueName = queueName;
  }

  /** Recorded batches, under their own IDs and under new ones. */
  async put(jobs: readonly { readonly batch: string; readonly jobId: string }[]): Promise<void> {
    for (let at = 0; at < jobs.length; at += AT_ONCE)
      await this.queue.addBulk(
        jobs.slice(at, at + AT_ONCE).map(({ batch, jobId }, i) => ({
          name: "batch",
          data: { batch },
          opts: i % 2 === 0 ? { jobId } : { jobId: this.newId() },
        })),
      );
  }

  async putAny(jobs: readonly PutJob[]): Promise<void> {
    for (let at = 0; at < jobs.length; at += AT_ONCE)
      await this.queue.addBulk(
        jobs
          .slice(at, at + AT_ONCE)
          .map(({ name = "batch", data }) => ({ name, data, opts: { jobId: this.newId() } })),
      );
  }

  /** Completed events with these return values, as text: JSON, if the one who puts them in keeps to it. */
  async tell(returnValues: readonly string[]): Promise<void> {
    for (let at = 0; at < returnValues.length; at += AT_ONCE) {
      const pipeline = this.redis.pipeline();
      for (const value of returnValues.slice(at, at + AT_ONCE)) {
        const fields = ["event", "completed", "jobId", this.newId(), "returnvalue", value, "prev", "active"];
        pipeline.xadd(this.key("events"), "MAXLEN", "~", 10_000, "*", ...fields);
      }
      await pipeline.exec();
    }
  }

  /** A job that BullMQ would never make: its ID waits, and what stands under it are these fields, or nothing. */
  async plant(fields: Readonly<Record<string, string>>): Promise<void> {
    const id = `${PLANTED}${this.count++}`;
    if (Object.keys(fields).length > 0) await this.redis.hset(this.key(id), fields);
    await this.redis.lpush(this.key("wait"), id);
  }

  async close(): Promise<void> {
    await this.queue.close();
    this.redis.disconnect();
  }

  private newId(): string {
    return `by-hand-${this.count++}`;
  }

  private key(name: string): string {
    return `bull:${this.queueName}:${name}`;
  }
}
