/**
 * The batches in BullMQ's queue, as somebody sees them who reaches Redis: who waits, who is being worked on, and
 * what is in them.
 */
import { openBatchProducer } from "../../../core/store/queue.ts";
import type { SeededRandom } from "../random.ts";
import { until } from "../stage/until.ts";
import type { Show } from "./show.ts";

const REACH_MS_MAX = 10_000;

export async function waiting({ redis, queueName }: Show): Promise<number> {
  return await redis.ask((client) => client.llen(`bull:${queueName}:wait`));
}

/** IDs of the jobs that a worker has taken and not finished. */
export async function active({ redis, queueName }: Show): Promise<string[]> {
  return await redis.ask((client) => client.lrange(`bull:${queueName}:active`, 0, -1));
}

/** The batches that wait. */
export async function collect({ redis, queueName }: Show): Promise<Buffer[]> {
  return await redis.ask(async (client) => {
    const ids = await client.lrange(`bull:${queueName}:wait`, 0, -1);
    const jobs = await Promise.all(ids.map((id) => client.hget(`bull:${queueName}:${id}`, "data")));
    return jobs.flatMap((data) => {
      if (data === null) return [];
      const { batch } = JSON.parse(data) as { batch: string };
      return [Buffer.from(batch, "base64url")];
    });
  });
}

/** Puts every batch into the queue so many times, each under a name of its own, in no order. */
export async function deliver(
  show: Show,
  batches: readonly Buffer[],
  times: number,
  random: SeededRandom,
): Promise<void> {
  const address = { kind: "redis", url: show.redis.url } as const;
  const silent = { ack() {}, trouble() {}, recovered() {} };
  const producer = openBatchProducer(address, show.queueName, silent);
  try {
    await until(() => producer.connected, REACH_MS_MAX);
    const copies = random.shuffled(batches.flatMap((batch) => Array.from({ length: times }, () => batch)));
    const run = Buffer.from(random.bytes(6)).toString("hex");
    await Promise.all(copies.map((batch, i) => producer.send(`again-${run}-${i}`, batch)));
  } finally {
    await producer.close();
  }
}
