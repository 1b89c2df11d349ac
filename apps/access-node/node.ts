/**
 * The access node: opens its shard, serves it, and stops in order.
 *
 * Clean stop: readiness off, in-flight requests answered, forwarder quiet, leases returned, journal synced,
 * files and lock released. Nothing is burned. A failed journal is the opposite: the process stops at once, and
 * recovery is what puts things right.
 */

import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import type { Logger } from "pino";
import { HongbaoError, systemCode } from "../../core/format/error.ts";
import { claimQueueName } from "../../core/format/queue-name.ts";
import { type BatchProducer, openBatchProducer } from "../../core/store/queue.ts";
import { describeQueueAddress, type QueueAddress } from "../../core/store/queue-address.ts";
import { cryptoDice } from "./dice.ts";
import { Forwarder } from "./forwarder.ts";
import { nodeApp } from "./http.ts";
import { type NodeMetrics, nodeMetrics } from "./metrics.ts";
import { Opener } from "./open.ts";
import { type OpenedShard, openShard, type ShardOptions } from "./open-shard.ts";
import { Shaker } from "./shake.ts";

const DRAIN_MS_MAX = 10_000;
/** A client has this long to send its head and its body: a slow one costs a socket, not a worker. */
const HEAD_MS_MAX = 10_000;
const REQUEST_MS_MAX = 20_000;

export interface NodeOptions extends ShardOptions {
  readonly port: number;
  readonly host: string;
  readonly queue: QueueAddress;
}

export interface RunningNode {
  readonly url: string;
  /** Drains and stops cleanly. */
  stop(): Promise<void>;
}

/**
 * @param world.onFailure the node cannot keep promises any more: stop the process now, with exit code 1
 * @throws HongbaoError with the reason why the node does not serve
 */
export async function runNode(
  options: NodeOptions,
  world: { log: Logger; onFailure: (error: unknown) => void },
): Promise<RunningNode> {
  const { log } = world;
  const clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };
  const opened = await openShard(options, { clock, dice: cryptoDice(), onFailure: world.onFailure });
  const { shard } = opened;
  const forwarder = new Forwarder({
    dir: opened.epochDir.node(options.shard),
    journal: shard.journal,
    wireKey: shard.keys.wire,
    acknowledged: shard.book.acknowledged,
    append: shard.append,
    monotonicMs: clock.monotonicMs,
    onFailure: world.onFailure,
  });
  const metrics = nodeMetrics(shard, forwarder, opened.burnedNow);
  let state: "starting" | "ready" | "draining" = "starting";
  const app = nodeApp({
    shard,
    shaker: new Shaker(shard),
    opener: new Opener(shard),
    metrics,
    state: () => state,
    onError: (error) => log.error({ err: error }, "a request failed"),
  });
  const server = await listen(app.fetch, options, opened);
  const producer = startForwarding(options, shard.identity.epoch, forwarder, metrics, log);
  // The first shake of a round finds lease and block in place.
  await Promise.all(shard.channels.map((channel) => channel.ready()));
  state = "ready";
  metrics.setReady(true);
  const url = `http://${options.host.includes(":") ? `[${options.host}]` : options.host}:${server.port}`;
  log.info(
    {
      url,
      mode: shard.manifest.mode,
      epoch: shard.identity.epoch,
      shard: options.shard,
      left: shard.channels.reduce((sum, channel) => sum + channel.left, 0),
      burned: opened.burnedNow,
      queue: describeQueueAddress(options.queue),
    },
    "node ready",
  );
  const stop = async () => {
    state = "draining";
    metrics.setReady(false);
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
    url,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

/** Without a reachable queue a node serves, warns, and keeps claims in its journal. */
function startForwarding(
  options: NodeOptions,
  epoch: number,
  forwarder: Forwarder,
  metrics: NodeMetrics,
  log: Logger,
): BatchProducer | undefined {
  if (options.queue.kind === "none") {
    log.warn("QUEUE_URL is not set: claims stay in the journal until this node is started with a queue");
    return undefined;
  }
  const name = claimQueueName(options.campaign, epoch);
  const producer = openBatchProducer(options.queue, name, {
    ack: (ack) => forwarder.acknowledge(ack),
    trouble: (message) => {
      metrics.setQueueConnected(false);
      log.warn(`${message} Claims stay in the journal and will be sent.`);
    },
    recovered: () => {
      metrics.setQueueConnected(true);
      log.info("the queue can be reached");
    },
  });
  metrics.setQueueDepth(() => producer.depth());
  forwarder.start(producer);
  return producer;
}

async function listen(
  fetch: (request: Request) => Response | Promise<Response>,
  options: NodeOptions,
  opened: OpenedShard,
): Promise<{ port: number; drain: () => Promise<void> }> {
  let draining = false;
  const answer = async (request: Request) => {
    const response = await fetch(request);
    if (draining) response.headers.set("connection", "close");
    return response;
  };
  const serverOptions = {
    headersTimeout: HEAD_MS_MAX,
    requestTimeout: REQUEST_MS_MAX,
    connectionsCheckingInterval: 5_000,
  };
  const server = serve({
    fetch: answer,
    port: options.port,
    hostname: options.host,
    serverOptions,
  }) as Server;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("listening", resolve);
      server.once("error", reject);
    });
  } catch (cause) {
    await opened.shard.journal.close();
    await opened.release();
    if (systemCode(cause) === "EADDRINUSE")
      throw new HongbaoError(
        "port_taken",
        `port ${options.port} on ${options.host} is taken: choose another with --port`,
        { cause },
      );
    throw new HongbaoError(
      "invalid_config",
      `cannot listen on ${options.host} port ${options.port} (${systemCode(cause)})`,
      { cause },
    );
  }
  return {
    port: (server.address() as AddressInfo).port,
    drain: async () => {
      draining = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const deadline = setTimeout(() => server.closeAllConnections(), DRAIN_MS_MAX);
      await closed;
      clearTimeout(deadline);
    },
  };
}
