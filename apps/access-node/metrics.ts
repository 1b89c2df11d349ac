/**
 * What on-call engineers see of a node: counts by outcome, stock, journal and delivery. Labels are fixed words
 * and ad IDs; no user, device, token or key ever becomes one.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Forwarder } from "./forwarder.ts";
import type { Shard } from "./shard.ts";

export interface NodeMetrics {
  shake(outcome: string): void;
  open(result: string, seconds: number): void;
  setReady(ready: boolean): void;
  setQueueConnected(connected: boolean): void;
  /** Where the queue's depth is asked when metrics are read. */
  setQueueDepth(depth: () => Promise<number | null>): void;
  /** Prometheus text exposition. */
  expose(): Promise<{ contentType: string; text: string }>;
}

export function nodeMetrics(shard: Shard, forwarder: Forwarder, burnedNow: number): NodeMetrics {
  const registry = new Registry();
  registry.setDefaultLabels({
    campaign: shard.manifest.campaign,
    mode: shard.manifest.mode,
    shard: String(shard.identity.shard),
  });
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const shakes = new Counter({
    name: "hongbao_shakes_total",
    help: "Shakes by outcome",
    labelNames: ["outcome"],
    registers,
  });
  const opens = new Counter({
    name: "hongbao_opens_total",
    help: "Opens by result",
    labelNames: ["result"],
    registers,
  });
  const openSeconds = new Histogram({
    name: "hongbao_open_seconds",
    help: "Time from an open to its durable claim",
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2],
    registers,
  });
  const ready = new Gauge({ name: "hongbao_ready", help: "1 while this node takes shakes", registers });
  const queue = new Gauge({
    name: "hongbao_queue_connected",
    help: "1 while the queue can be reached",
    registers,
  });
  gauge("hongbao_burned_at_start_packets", "Packets burned by this start", () => burnedNow);
  gauge("hongbao_claimed_packets", "Packets opened", () => shard.book.claimed);
  gauge("hongbao_winners", "Users this node remembers", () => shard.book.winnerCount);
  gauge(
    "hongbao_journal_durable_bytes",
    "Journal stream offset on the disk",
    () => shard.journal.durableOffset,
  );
  gauge(
    "hongbao_journal_pending_bytes",
    "Journal bytes not on the disk yet",
    () => shard.journal.appendedOffset - shard.journal.durableOffset,
  );
  gauge(
    "hongbao_forward_lag_bytes",
    "Journal bytes that no ledger acknowledged yet",
    () => forwarder.lagBytes,
  );
  gauge(
    "hongbao_forward_inflight_batches",
    "Batches sent and not acknowledged",
    () => forwarder.batchesInFlight,
  );
  gauge("hongbao_forward_resent_batches", "Batches sent again", () => forwarder.batchesResent);
  new Gauge({
    name: "hongbao_left_packets",
    help: "Packets of a lane not handed out",
    labelNames: ["ad"],
    registers,
    collect() {
      for (const channel of shard.channels) this.set({ ad: String(channel.ad) }, channel.left);
    },
  });

  let queueDepth: () => Promise<number | null> = async () => null;
  new Gauge({
    name: "hongbao_queue_jobs",
    help: "Batches that wait or run in the queue, of all nodes; -1 while it cannot be asked",
    registers,
    async collect() {
      this.set((await queueDepth()) ?? -1);
    },
  });

  function gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  }

  return {
    shake: (outcome) => shakes.inc({ outcome }),
    open: (result, seconds) => {
      opens.inc({ result });
      openSeconds.observe(seconds);
    },
    setReady: (value) => ready.set(value ? 1 : 0),
    setQueueConnected: (value) => queue.set(value ? 1 : 0),
    setQueueDepth: (depth) => {
      queueDepth = depth;
    },
    expose: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  };
}
