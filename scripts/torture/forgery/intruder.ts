/**
 * Somebody who reaches Redis while a show runs: hears everything that goes through the queue, and can put in whatever
 * he likes.
 */
import type { Violations } from "../experiment.ts";
import { QueueHand } from "./queue-hand.ts";
import { QueueTap } from "./queue-tap.ts";
import { TargetShow } from "./target-show.ts";

const SHARD_PACKETS = 1_000;

export interface Intruder {
  readonly show: TargetShow;
  readonly hand: QueueHand;
  readonly tap: QueueTap;
}

/** Runs a show with him in it, and removes both. */
export async function withIntruder<T>(
  violations: Violations,
  run: (intruder: Intruder) => Promise<T>,
): Promise<T> {
  const show = await TargetShow.start(SHARD_PACKETS, violations);
  const hand = new QueueHand(show.redis, show.queueName);
  let tap: QueueTap | undefined;
  try {
    tap = await QueueTap.open(show.redis, show.queueName);
    return await run({ show, hand, tap });
  } finally {
    tap?.close();
    await hand.close();
    await show.remove();
  }
}
