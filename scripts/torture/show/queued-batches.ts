/**
 * The jobs that lie in a queue's Redis, as the bytes that were put in: whatever state BullMQ holds them in.
 */
import type { RedisServer } from "../stage/redis-server.ts";

const SCAN_COUNT = 1000;

export async function queuedBatches(redis: RedisServer, queueName: string): Promise<Uint8Array[]> {
  return await redis.ask(async (client) => {
    const batches: Uint8Array[] = [];
    for await (const keys of client.scanStream({
      match: `bull:${queueName}:*`,
      count: SCAN_COUNT,
      type: "hash",
    }))
      for (const key of keys as string[]) {
        const data = await client.hget(key, "data");
        const batch: unknown = data === null ? undefined : JSON.parse(data).batch;
        if (typeof batch === "string") batches.push(Buffer.from(batch, "base64url"));
      }
    return batches;
  });
}
