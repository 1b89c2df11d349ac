/**
 * The access node: opens its shard, serves it, and stops in order.
 *
 * Clean stop: readiness off, requests under way answered, forwarder quiet, leases returned, journal synced, files
 * and lock released. Nothing is burned. A failed journal or a broken invariant is the opposite: the process stops
 * at once, and recovery is what puts things right.
 */
import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import { claimQueueName } from "../../core/format/queue-name.ts";
import { type BatchProducer, openBatchProducer } from "../../core/store/queue.ts";
import { describeQueueAddress, type QueueAddress } from "../../core/store/queue-address.ts";
import { machineClock } from "./clock.ts";
import type { Connections } from "./connections.ts";
import { cryptoDice } from "./dice.ts";
import { Forwarder } from "./forwarder.ts";
import { type NodeState, nodeApp } from "./http.ts";
import { nodeMetrics } from "./metrics.ts";
import { Opener } from "./open.ts";
import { type OpenedShard, openShard, type ShardOptions } from "./open-shard.ts";
import { listen } from "./server.ts";
import { Shaker } from "./shake.ts";

export interface NodeOptions extends ShardOptions {
  readonly port: number;
  readonly host: string;
  readonly queue: QueueAddress;
}

export interface NodeWorld {
  readonly log: Logger;
  /** The node cannot keep promises any more: stop the process now, with exit code 1. */
  readonly onFailure: (error: unknown) => void;
}

export interface RunningNode {
  readonly url: string;
  /** Drains and stops cleanly. */
  stop(): Promise<void>;
}

/** @throws HongbaoError with the reason why the node does not serve */
export async function runNode(options: NodeOptions, world: NodeWorld): Promise<RunningNode> {
  const { log } = world;
  const opened = await openShard(options, {
    clock: machineClock,
    dice: cryptoDice(),
    random: randomBytes,
    onFailure: world.onFailure,
  });
  const { shard } = opened;
  const forwarder = newForwarder(opened, world);
  let producer: BatchProducer | undefined;
  let connections: Connections | undefined;
  const metrics = nodeMetrics(
    shard,
    forwarder,
    opened.burnedNow,
    () => producer,
    () => connections,
  );
  let state: NodeState = "starting";
  const app = nodeApp({
    shard,
    shaker: new Shaker(shard),
    opener: new Opener(shard),
    metrics,
    state: () => state,
    onError: (error) => log.error({ err: error }, "a request failed"),
    onBug: world.onFailure,
  });
  const server = await listen(app.fetch, options).catch(async (error) => {
    await shard.journal.close();
    await opened.release();
    throw error;
  });
  connections = server.connections;
  producer = startForwarding(options, opened, forwarder, log);
  await Promise.all(shard.channels.map((channel) => channel.load()));
  state = "ready";
  announce(options, opened, server.url, log);
  const stop = async () => {
    state = "draining";
    for (const channel of shard.channels) channel.close();
    await server.drain();
    await forwarder.stop();
    await producer?.close();
    shard.append({ type: "return", cursors: shard.channels.map((channel) => channel.position) });
    // If we die before this is on the disk, the next start burns what was leased: bounded, and listed.
    await shard.journal.close();
    await opened.release();
    log.info("node stopped");
  };
  let stopped: Promise<void> | undefined;
  return {
    url: server.url,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

function newForwarder({ shard }: OpenedShard, world: NodeWorld): Forwarder {
  return new Forwarder({
    journal: shard.journal,
    wireKey: shard.keys.wire,
    acknowledged: shard.book.acknowledged,
    claimedUpTo: () => shard.book.claimedUpTo,
    append: shard.append,
    clock: shard.clock,
    random: randomBytes,
    alarm: (message) => world.log.error(message),
    onFailure: world.onFailure,
  });
}

/** Without a reachable queue a node serves, warns, and keeps claims in its journal. */
function startForwarding(
  options: NodeOptions,
  opened: OpenedShard,
  forwarder: Forwarder,
  log: Logger,
): BatchProducer | undefined {
  if (options.queue.kind === "none") {
    log.warn("QUEUE_URL is not set: claims stay in the journal until this node is started with a queue");
    return undefined;
  }
  const producer = openBatchProducer(options.queue, claimQueueName(opened.shard.manifest), {
    ack: (ack) => forwarder.acknowledge(ack),
    trouble: (message) => log.warn(`${message} Claims stay in the journal and will be sent.`),
    recovered: () => log.info("the queue can be reached"),
  });
  forwarder.start(producer);
  return producer;
}

function announce(options: NodeOptions, opened: OpenedShard, url: string, log: Logger): void {
  const { shard, burnedNow } = opened;
  log.info(
    {
      url,
      mode: shard.manifest.mode,
      epoch: shard.identity.epoch,
      shard: shard.identity.shard,
      left: shard.channels.reduce((sum, channel) => sum + channel.left, 0),
      burned: burnedNow,
      queue: describeQueueAddress(options.queue),
    },
    shard.manifest.mode === "test" ? "TEST node ready" : "node ready",
  );
}
