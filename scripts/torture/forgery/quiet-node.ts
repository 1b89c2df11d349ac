/**
 * A node in this process, without a socket and without a queue: the real shard, the real opening path and the real
 * HTTP surface, so that millions of requests cost what the node itself needs for them.
 */
import { randomBytes } from "node:crypto";
import type { Hono } from "hono";
import { machineClock } from "../../../apps/access-node/clock.ts";
import { Forwarder } from "../../../apps/access-node/forwarder.ts";
import { nodeApp } from "../../../apps/access-node/http.ts";
import { nodeMetrics } from "../../../apps/access-node/metrics.ts";
import { Opener } from "../../../apps/access-node/open.ts";
import { closeShard, openShard } from "../../../apps/access-node/open-shard.ts";
import { Shaker } from "../../../apps/access-node/shake.ts";
import type { Shard } from "../../../apps/access-node/shard.ts";
import type { Minted } from "../stage/minted.ts";

const SHOW_MS = Date.parse("2027-02-06T14:00:00Z");

export interface QuietNode {
  readonly shard: Shard;
  readonly opener: Opener;
  readonly forwarder: Forwarder;
  post(path: string, body: object, headers?: Record<string, string>): Promise<HttpAnswer>;
  /** As kill -9 leaves it: nothing is returned, nothing is said to be synced. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * Everybody wins: no dice, no rounds.
 * @param onFailure what a real node ends for; here it may be looked at
 */
export async function serveQuietly(
  minted: Minted,
  shardNumber = 0,
  onFailure: (error: unknown) => void = raise,
): Promise<QuietNode> {
  const opened = await openShard(
    {
      roots: minted.roots,
      campaign: minted.campaign,
      shard: shardNumber,
      epoch: minted.epochDir.epoch,
      openNow: true,
    },
    {
      clock: { ...machineClock, wallMs: () => SHOW_MS },
      dice: () => 0,
      random: randomBytes,
      onFailure,
    },
  );
  const { shard } = opened;
  const opener = new Opener(shard);
  const forwarder = Forwarder.of(opened, {
    random: randomBytes,
    alarm: (message) => onFailure(new Error(message)),
    onFailure,
  });
  // Only for who asks: the metrics of a process watch it until its end, and there may be thousands of nodes in this one.
  let app: Hono | undefined;
  const surface = () => {
    app ??= nodeApp({
      shard,
      shaker: new Shaker(shard),
      opener,
      metrics: nodeMetrics(
        shard,
        forwarder,
        opened.burnedNow,
        () => undefined,
        () => undefined,
      ),
      state: () => "ready",
      onError: onFailure,
      onBug: onFailure,
    });
    return app;
  };
  return {
    shard,
    opener,
    forwarder,
    post: (path, body, headers = {}) => post(surface(), path, body, headers),
    crash: async () => {
      await shard.journal.written(shard.journal.appendedOffset);
      await opened.release();
    },
    stop: async () => {
      for (const channel of shard.channels) channel.close();
      await forwarder.stop();
      await closeShard(opened);
    },
  };
}

function raise(error: unknown): never {
  throw error;
}

async function post(
  app: Hono,
  path: string,
  body: object,
  headers: Record<string, string>,
): Promise<HttpAnswer> {
  const response = await app.request(path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as HttpAnswer["body"] };
}
