/**
 * The demo: a complete show on this machine, on the real programs. Campaign file, mint, two nodes, a worker, a
 * signed show config with a short countdown, a crowd over HTTP, and at the end the production reconcile.
 */
import { fork } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Roots } from "../../core/store/campaign-dir.ts";
import { CampaignDir } from "../../core/store/campaign-dir.ts";
import { exists, makeDirectory } from "../../core/store/durable.ts";
import type { ReconcileReport } from "../../scripts/reconcile/report.ts";
import type { Terminal } from "./command.ts";
import type { CrowdCounts } from "./crowd.ts";
import { type Fleet, startFleet } from "./fleet.ts";
import { LiveView, type ShowFigures } from "./live-view.ts";
import { readGauges } from "./node-gauges.ts";

export interface DemoOptions {
  /** A new directory of the demo's own: seeds, keys and data. */
  readonly dir: string;
  readonly packets: number;
  readonly shakers: number;
  readonly stay: boolean;
}

const CAMPAIGN = "demo-gala";
const SHARDS = 2;
const COUNTDOWN_MS = 3_000;
const ROUND_MS = 14_000;
const STAY_MS = 24 * 3600 * 1000;
const SETTLE_MS_MAX = 20_000;
const DAY_MS = 24 * 3600 * 1000;
const MEAN_CENTS = 888;

/** @returns finance's report on the show. Progress goes to the terminal's `err`. */
export async function runDemo(options: DemoOptions, terminal: Terminal): Promise<ReconcileReport> {
  const roots = {
    seedsDir: join(options.dir, "seeds"),
    keysDir: join(options.dir, "keys"),
    dataDir: join(options.dir, "data"),
  };
  const stopRequested = terminal.stopRequested();
  await mint(options, roots, terminal);
  say(terminal, "starting two nodes, the credit worker and the queue");
  const fleet = await startFleet({
    roots,
    campaign: CAMPAIGN,
    epoch: 1,
    shards: SHARDS,
    basePort: 0,
    openNow: false,
    logLevel: "warn",
    env: { ...terminal.env, LEDGER_URL: "", LEDGER_URL_FILE: "" },
    warn: (text) => say(terminal, `hongbao: ${text}`),
  });
  try {
    await pushShow(options, roots, fleet, terminal);
    await watchShow(options, roots, fleet, terminal, stopRequested);
    if (options.stay) await stay(fleet, terminal, stopRequested);
  } finally {
    await fleet.stop();
  }
  const { reconcile } = await import("../../scripts/reconcile/reconcile.ts");
  return await reconcile({ roots, campaign: CAMPAIGN, audit: false });
}

async function mint(options: DemoOptions, roots: Roots, terminal: Terminal): Promise<void> {
  const campaign = {
    campaign: CAMPAIGN,
    mode: "test",
    budgetCents: options.packets * MEAN_CENTS,
    packets: options.packets,
    shards: SHARDS,
    split: { rule: "double-mean", minCents: 1, maxCents: 20_000 },
    ads: [
      { id: 1, name: "Red Lantern Tea", weight: 3 },
      { id: 2, name: "Carp Motors", weight: 2 },
      { id: 3, name: "Plum Bank", weight: 1 },
    ],
    quota: { perUser: 3, perAd: 1 },
    expiresAt: new Date(Date.now() + 7 * DAY_MS).toISOString(),
  };
  await makeDirectory(options.dir);
  const campaignText = `${JSON.stringify(campaign, null, 2)}\n`;
  await writeFile(join(options.dir, "campaign.json"), campaignText, { flag: "wx" });
  const { generate } = await import("../../generator/generate.ts");
  const startedMs = performance.now();
  await generate(
    { roots, campaignText, workers: Math.min(2, availableParallelism()), dryRun: false, resume: false },
    { nowMs: Date.now(), progress: { update() {} } },
  );
  say(terminal, `sealed ${options.packets} packets in ${Math.round(performance.now() - startedMs)} ms`);
}

async function pushShow(options: DemoOptions, roots: Roots, fleet: Fleet, terminal: Terminal): Promise<void> {
  const opensMs = Date.now() + COUNTDOWN_MS;
  const roundMs = options.stay ? STAY_MS : ROUND_MS;
  const show = {
    campaign: CAMPAIGN,
    version: 1,
    stop: false,
    rounds: [
      {
        id: "round-1",
        opensAt: new Date(opensMs).toISOString(),
        closesAt: new Date(opensMs + roundMs).toISOString(),
        ads: [1, 2, 3],
        packetsPerSecond: Math.max(2, Math.ceil(options.packets / 8)),
        hitProbability: 0.5,
      },
    ],
  };
  const { setShow } = await import("../show-control/show-control.ts");
  const nodes = fleet.nodes.map(({ url }) => url);
  const { deliveries } = await setShow({ roots, campaign: CAMPAIGN, nodes }, JSON.stringify(show));
  for (const { node, outcome } of deliveries) say(terminal, `show config at ${node}: ${outcome}`);
}

/** Lets the crowd shake and draws the figures until everything opened is credited. */
async function watchShow(
  options: DemoOptions,
  roots: Roots,
  fleet: Fleet,
  terminal: Terminal,
  stopRequested: Promise<void>,
): Promise<void> {
  const crowd = forkCrowd(options, fleet);
  const view = new LiveView(terminal);
  let stopped = false;
  void stopRequested.then(() => {
    stopped = true;
    crowd.stop();
  });
  let figures = await measure("countdown", options, roots, fleet, crowd.counts(), undefined, 0);
  let settleBy = Number.POSITIVE_INFINITY;
  for (let beforeMs = performance.now(); ; ) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const nowMs = performance.now();
    if (crowd.finished() && settleBy === Number.POSITIVE_INFINITY) settleBy = nowMs + SETTLE_MS_MAX;
    const stage = crowd.finished() ? "paying out" : figures.opened > 0 ? "on air" : "countdown";
    figures = await measure(stage, options, roots, fleet, crowd.counts(), figures, nowMs - beforeMs);
    beforeMs = nowMs;
    view.show(figures, nowMs);
    const settled = crowd.finished() && figures.credited >= figures.opened;
    if (settled || nowMs > settleBy || (stopped && crowd.finished())) break;
  }
  view.end({ ...figures, stage: "the show is over" });
}

async function stay(fleet: Fleet, terminal: Terminal, stopRequested: Promise<void>): Promise<void> {
  for (const { shard, url } of fleet.nodes) say(terminal, `shard ${shard} goes on at ${url}`);
  say(terminal, "Ctrl-C stops it and closes the books");
  await stopRequested;
}

async function measure(
  stage: string,
  options: DemoOptions,
  roots: Roots,
  fleet: Fleet,
  counts: CrowdCounts,
  before: ShowFigures | undefined,
  elapsedMs: number,
): Promise<ShowFigures> {
  const gauges = await Promise.all(fleet.nodes.map(({ url }) => readGauges(url)));
  const known = gauges.filter((one) => one !== undefined);
  const total = (pick: (one: (typeof known)[number]) => number, fallback: number) =>
    known.length === fleet.nodes.length ? known.reduce((sum, one) => sum + pick(one), 0) : fallback;
  const credited = await creditedTotals(roots);
  return {
    stage,
    shakes: counts.shakes,
    shakesPerSecond:
      before && elapsedMs > 0 ? Math.round(((counts.shakes - before.shakes) * 1000) / elapsedMs) : 0,
    packets: options.packets,
    left: total((one) => one.left, before?.left ?? options.packets),
    opened: total((one) => one.opened, before?.opened ?? 0),
    credited: credited.packets,
    creditedCents: credited.cents,
    queueDepth: known[0]?.queueJobs ?? null,
  };
}

async function creditedTotals(roots: Roots): Promise<{ packets: number; cents: number }> {
  const path = new CampaignDir(roots, CAMPAIGN).ledger;
  if (!(await exists(path))) return { packets: 0, cents: 0 };
  const { readLedger } = await import("../../core/store/ledger-reader.ts");
  const ledger = readLedger(path);
  try {
    return ledger.totals();
  } finally {
    ledger.close();
  }
}

function forkCrowd(options: DemoOptions, fleet: Fleet) {
  const seconds = String((COUNTDOWN_MS + ROUND_MS) / 1000);
  const nodes = fleet.nodes.flatMap(({ url }) => ["--node", url]);
  const args = ["crowd", ...nodes, "--users", String(options.shakers), "--seconds", seconds];
  const child = fork(fileURLToPath(import.meta.resolve("#hongbao")), args, {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  let counts: CrowdCounts = { shakes: 0, packets: 0, opened: 0, openedCents: 0, refused: 0, unanswered: 0 };
  let finished = false;
  child.on("message", (message: { hongbaoCrowd?: CrowdCounts }) => {
    if (message.hongbaoCrowd) counts = message.hongbaoCrowd;
  });
  child.once("exit", () => {
    finished = true;
  });
  return { counts: () => counts, finished: () => finished, stop: () => child.kill("SIGTERM") };
}

function say(terminal: Terminal, text: string): void {
  terminal.err(`${text}\n`);
}
