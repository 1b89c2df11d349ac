/**
 * A node without a socket: the real shard and the real HTTP surface, with clock and dice in the test's hand.
 * `crash` leaves it as kill -9 does: nothing returned, nothing synced, the kernel frees the lock.
 */
import { randomBytes } from "node:crypto";
import { machineClock } from "../../../apps/access-node/clock.ts";
import { Forwarder } from "../../../apps/access-node/forwarder.ts";
import { nodeApp } from "../../../apps/access-node/http.ts";
import { nodeMetrics } from "../../../apps/access-node/metrics.ts";
import { Opener } from "../../../apps/access-node/open.ts";
import { closeShard, openShard, type ShardOptions } from "../../../apps/access-node/open-shard.ts";
import { Shaker } from "../../../apps/access-node/shake.ts";
import type { Shard } from "../../../apps/access-node/shard.ts";
import { signShow } from "../../../core/format/signature.ts";
import { readKeyFile } from "../../../core/store/keystore.ts";
import type { Minted } from "../../../scripts/torture/stage/minted.ts";

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly headers: Headers;
}

export interface Served {
  readonly shard: Shard;
  readonly burnedNow: number;
  nowMs: number;
  luck: number;
  shake(body: unknown, key?: string): Promise<Answer>;
  open(body: unknown): Promise<Answer>;
  get(path: string): Promise<Answer>;
  /** Signs `show` with `keyFile` (the operator's by default) and pushes it. */
  push(show: object, keyFile?: string): Promise<Answer>;
  request(path: string, init: RequestInit): Promise<Answer>;
  crash(): Promise<void>;
  stop(): Promise<void>;
}

export const START_MS = Date.parse("2027-02-06T14:00:00Z");

export async function serve(minted: Minted, options: Partial<ShardOptions> = {}): Promise<Served> {
  const world = {
    clock: { ...machineClock, wallMs: () => served.nowMs, monotonicMs: () => served.nowMs },
    random: randomBytes,
    dice: () => served.luck,
    onFailure: (error: unknown) => {
      throw error;
    },
  };
  const opened = await openShard(
    { roots: minted.roots, campaign: minted.campaign, shard: 0, openNow: true, ...options },
    world,
  );
  const { shard } = opened;
  const forwarder = Forwarder.of(opened, {
    random: randomBytes,
    alarm: () => {},
    onFailure: world.onFailure,
  });
  const app = nodeApp({
    shard,
    shaker: new Shaker(shard),
    opener: new Opener(shard),
    metrics: nodeMetrics(
      shard,
      forwarder,
      opened.burnedNow,
      () => undefined,
      () => undefined,
    ),
    state: () => "ready",
    onError: world.onFailure,
    onBug: world.onFailure,
  });
  const request = async (path: string, init: RequestInit): Promise<Answer> => {
    const response = await app.request(path, init);
    const text = await response.text();
    const json = (response.headers.get("content-type") ?? "").includes("json");
    return { status: response.status, body: json ? JSON.parse(text) : { text }, headers: response.headers };
  };
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    request(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  let gone = false;
  const served: Served = {
    shard,
    burnedNow: opened.burnedNow,
    nowMs: START_MS,
    luck: 0,
    request,
    shake: (body, key) => post("/v1/shake", body, key === undefined ? {} : { "idempotency-key": key }),
    open: (body) => post("/v1/open", body),
    get: (path) => request(path, {}),
    push: async (show, keyFile = minted.epochDir.of.operatorKey) => {
      const text = JSON.stringify(show);
      const sig = signShow(await readKeyFile("signing", keyFile), text);
      const body = JSON.stringify({ show: text, signatures: [{ role: "operator", sig }] });
      return await request("/v1/show", {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body,
      });
    },
    crash: async () => {
      if (gone) return;
      gone = true;
      await shard.journal.written(shard.journal.appendedOffset);
      await opened.release();
    },
    stop: async () => {
      if (gone) return;
      gone = true;
      for (const channel of shard.channels) channel.close();
      await closeShard(opened);
    },
  };
  return served;
}
