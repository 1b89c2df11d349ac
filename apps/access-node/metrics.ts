/**
 * What on-call engineers see of a node: counts by outcome, stock, journal and delivery. Labels are fixed words
 * and ad IDs; no user, device, token or key ever becomes one.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { BatchProducer } from "../../core/store/queue.ts";
import type { Connections } from "./connections.ts";
import type { Forwarder } from "./forwarder.ts";
import type { Shard } from "./shard.ts";

export interface NodeMetrics {
  shake(outcome: string): void;
  open(result: string, seconds: number): void;
  /** Prometheus text exposition. */
  expose(): Promise<{ contentType: string; text: string }>;
}

/** What costs many times a shake is looked at once a second, however often anybody asks: files and queue. */
const COSTLY_MS = 1_000;
const OPEN_SECONDS_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2];

export function nodeMetrics(
  shard: Shard,
  forwarder: Forwarder,
  burnedNow: number,
  producer: () => BatchProducer | undefined,
  connections: () => Connections | undefined,
): NodeMetrics {
  const [registry, costly] = [new Registry(), new Registry()];
  const { campaign, mode } = shard.manifest;
  for (const one of [registry, costly])
    one.setDefaultLabels({ campaign, mode, shard: String(shard.identity.shard) });
  collectDefaultMetrics({ register: costly });
  addQueue(costly, producer);
  addStock(registry, shard, burnedNow);
  addJournal(registry, shard);
  addDelivery(registry, forwarder, producer);
  gauge(registry, "hongbao_connections", "Connections that are open", () => connections()?.size ?? 0);
  gauge(
    registry,
    "hongbao_connections_shed",
    "Connections that were closed because there were too many: those without an answer for longest",
    () => connections()?.shed ?? 0,
  );
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
    buckets: OPEN_SECONDS_BUCKETS,
    registers,
  });
  const exposeCostly = atMostEvery(COSTLY_MS, shard.clock.monotonicMs, () => costly.metrics());
  return {
    shake: (outcome) => shakes.inc({ outcome }),
    open: (result, seconds) => {
      opens.inc({ result });
      if (result === "opened") openSeconds.observe(seconds);
    },
    expose: async () => ({
      contentType: registry.contentType,
      text: `${await registry.metrics()}\n${await exposeCostly()}`,
    }),
  };
}

/** @returns `work`, but whoever asks again within `ms` of its start gets the same answer */
function atMostEvery<T>(ms: number, nowMs: () => number, work: () => Promise<T>): () => Promise<T> {
  let last: { readonly atMs: number; readonly answer: Promise<T> } | undefined;
  return () => {
    if (last === undefined || nowMs() - last.atMs >= ms) last = { atMs: nowMs(), answer: work() };
    return last.answer;
  };
}

function addStock(registry: Registry, shard: Shard, burnedNow: number): void {
  gauge(registry, "hongbao_burned_at_start_packets", "Packets burned by this start", () => burnedNow);
  gauge(registry, "hongbao_claimed_packets", "Packets opened", () => shard.book.claimed);
  gauge(registry, "hongbao_winners", "Users this node remembers", () => shard.book.winnerCount);
  new Gauge({
    name: "hongbao_left_packets",
    help: "Packets of a lane that can still be handed out",
    labelNames: ["ad"],
    registers: [registry],
    collect() {
      for (const channel of shard.channels) this.set({ ad: String(channel.ad) }, channel.left);
    },
  });
  new Gauge({
    name: "hongbao_lane_damaged",
    help: "1 for a lane whose seed file was damaged while it was served",
    labelNames: ["ad"],
    registers: [registry],
    collect() {
      for (const channel of shard.channels) this.set({ ad: String(channel.ad) }, channel.isDamaged ? 1 : 0);
    },
  });
}

function addJournal(registry: Registry, { journal }: Shard): void {
  gauge(
    registry,
    "hongbao_journal_durable_bytes",
    "Journal stream offset on the disk",
    () => journal.durableOffset,
  );
  gauge(
    registry,
    "hongbao_journal_pending_bytes",
    "Journal bytes not on the disk yet",
    () => journal.appendedOffset - journal.durableOffset,
  );
}

function addDelivery(
  registry: Registry,
  forwarder: Forwarder,
  producer: () => BatchProducer | undefined,
): void {
  gauge(
    registry,
    "hongbao_forward_lag_bytes",
    "Journal bytes up to the last claim that no ledger acknowledged yet",
    () => forwarder.lagBytes,
  );
  gauge(
    registry,
    "hongbao_forward_inflight_batches",
    "Batches sent and not acknowledged",
    () => forwarder.batchesInFlight,
  );
  gauge(registry, "hongbao_forward_resent_batches", "Batches sent again", () => forwarder.batchesResent);
  gauge(
    registry,
    "hongbao_ledger_vouched",
    "1 once a ledger has vouched for the journal since the start",
    () => (forwarder.isVouched ? 1 : 0),
  );
  gauge(registry, "hongbao_ledger_split", "1 once two ledgers answered: nothing is sent any more", () =>
    forwarder.isSplit ? 1 : 0,
  );
  gauge(registry, "hongbao_queue_connected", "1 while the queue can be reached", () =>
    producer()?.connected ? 1 : 0,
  );
}

function addQueue(registry: Registry, producer: () => BatchProducer | undefined): void {
  new Gauge({
    name: "hongbao_queue_jobs",
    help: "Batches that wait or run in the queue, of all nodes; -1 while it cannot be asked",
    registers: [registry],
    async collect() {
      this.set((await producer()?.depth()) ?? -1);
    },
  });
}

function gauge(registry: Registry, name: string, help: string, value: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(value());
    },
  });
}
