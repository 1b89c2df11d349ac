/**
 * Batches that were left in the queue: claims on their way. Only what is authentic under its shard's wire key is a
 * batch; whatever else lies there is foreign, and moves nothing.
 */
import { decodeBatch, peekBatch } from "../../../core/format/claim-batch.ts";
import { campaignTag } from "../../../core/format/token.ts";
import type { Packets } from "./packets.ts";

export class Queued {
  foreign = 0;
  /** 1: the packet's claim waits in the queue. */
  readonly waiting: Uint8Array;

  constructor(packets: Packets, batches: readonly Uint8Array[]) {
    this.waiting = new Uint8Array(packets.count);
    const { campaign, epoch, shards } = packets.manifest;
    for (const bytes of batches) {
      const range = peekBatch(bytes);
      const isOurs =
        range?.campaignTag === campaignTag(campaign) && range.epoch === epoch && range.shard < shards.length;
      const batch = range && isOurs ? decodeBatch(packets.keysOf(range.shard).wire, bytes) : undefined;
      if (batch === undefined) this.foreign++;
      for (const claim of batch?.claims ?? []) {
        const number = packets.numberOf(claim.token);
        if (number !== undefined) this.waiting[number] = 1;
      }
    }
  }
}
