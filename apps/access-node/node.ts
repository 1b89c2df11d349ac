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
import { type Clock, machineClock } from "./clock.ts";
import type { Connections } from "./connections.ts";
import { cryptoDice } from "./dice.ts";
import { Forwarder } from "./forwarder.ts";
import { type NodeState, nodeApp } from "./http.ts";
import { nodeMetrics } from "./metrics.ts";
import { Opener } from "./open.ts";
import { closeShard, type OpenedShard, openShard, type ShardOptions } from "./open-shard.ts";
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

/** How long a node waits for a ledger's word on its journal before it hands out packets without it. */
const WORD_MS_MAX = 3_000;

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
  let state: NodeState = "starting";
  const refusal = new Refusal();
  const forwarder = Forwarder.of(opened, {
    random: randomBytes,
    alarm: (message) => log.error(message),
    // What a ledger says before anything has left is a reason not to serve; later it is one to stop at once.
    onFailure: (error) => (state === "starting" ? refusal.give(error) : world.onFailure(error)),
  });
  let producer: BatchProducer | undefined;
  let connections: Connections | undefined;
  const metrics = nodeMetrics(
    shard,
    forwarder,
    opened.burnedNow,
    () => producer,
    () => connections,
  );
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
    await closeShard(opened);
    throw error;
  });
  connections = server.connections;
  const stop = async () => {
    state = "draining";
    for (const channel of shard.channels) channel.close();
    await server.drain();
    await forwarder.stop();
    await producer?.close();
    await closeShard(opened);
    log.info("node stopped");
  };
  let stopped: Promise<void> | undefined;
  const stopOnce = () => {
    stopped ??= stop();
    return stopped;
  };
  try {
    producer = startForwarding(options, opened, forwarder, log);
    const word = producer && awaitWord(forwarder, shard.clock, log);
    await refusal.unlessGiven([word, ...shard.channels.map((channel) => channel.load())]);
  } catch (error) {
    await stopOnce();
    throw error;
  }
  state = "ready";
  announce(options, opened, server.url, log);
  return { url: server.url, stop: stopOnce };
}

/** What ends a start that is under way. */
class Refusal {
  give: (error: unknown) => void = () => {};
  private readonly given = new Promise<never>((_, reject) => {
    this.give = reject;
  });

  /** @throws what was given before all of it was done */
  async unlessGiven(all: readonly unknown[]): Promise<void> {
    await Promise.race([Promise.all(all), this.given]);
  }
}

/**
 * Nothing leaves before a ledger has vouched for the journal: this may be an older copy, or somebody else's
 * shard. But an outage of the queue must not end the show: whoever hears nothing serves, and says so.
 */
async function awaitWord(forwarder: Forwarder, clock: Clock, log: Logger): Promise<void> {
  let callOff = () => {};
  const late = new Promise<"late">((resolve) => {
    callOff = clock.after(WORD_MS_MAX, () => resolve("late"));
  });
  const outcome = await Promise.race([forwarder.heard, late]);
  callOff();
  if (outcome !== "late") return;
  log.warn(
    `no ledger has answered within ${WORD_MS_MAX / 1000} seconds: this node serves without its word; if the journal is an older copy, or another node serves this shard, packets go out twice. See to the queue and the credit worker`,
  );
  forwarder.heard.then(() => log.info("a ledger has answered"));
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
