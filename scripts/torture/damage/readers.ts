/**
 * Those who read the files of a show, as their programs do: each says in one text everything that it makes of them, so
 * that two readings can be told apart; or it refuses.
 */

import { createHash, randomBytes } from "node:crypto";
import { machineClock } from "../../../apps/access-node/clock.ts";
import { Opener } from "../../../apps/access-node/open.ts";
import { openShard } from "../../../apps/access-node/open-shard.ts";
import { verifyMint } from "../../../apps/access-node/verified-mint.ts";
import { openBooks } from "../../../apps/credit-worker/books.ts";
import { systemClock } from "../../../apps/credit-worker/clock.ts";
import type { HongbaoError } from "../../../core/format/error.ts";
import { openJournalReader } from "../../../core/store/journal-reader.ts";
import { readLedger } from "../../../core/store/ledger-reader.ts";
import { reconcile } from "../../reconcile/reconcile.ts";
import type { ReconcileReport } from "../../reconcile/report.ts";
import { STATES } from "../../reconcile/shard-books.ts";
import { serveQuietly } from "../forgery/quiet-node.ts";
import { Settlement } from "../forgery/settlement.ts";
import type { Minted } from "../stage/minted.ts";
import { until } from "../stage/until.ts";
import type { Scene } from "./scene.ts";

const SHOW_MS = Date.parse("2027-02-06T14:00:00Z");
const ANSWER_MS_MAX = 20_000;

export interface NodeReading {
  /** Next position of each lane: nothing below it is handed out any more. */
  readonly cursors: readonly number[];
  /** Serials with a claim in the journal. */
  readonly claimed: readonly number[];
  /** packet and cents of each prize, as the node shows them again */
  readonly shown: readonly unknown[];
  /** Every fact of the journal, as texts; what was synced when is none. */
  readonly records: readonly string[];
  /** Everything, as one text. */
  readonly text: string;
}

/** A node that starts: what it would serve. */
export async function readAsNode(scene: Scene): Promise<NodeReading> {
  const { roots, campaign } = scene.minted;
  const onFailure = (error: HongbaoError) => {
    throw error;
  };
  const clock = { ...machineClock, wallMs: () => SHOW_MS };
  const opened = await openShard(
    { roots, campaign, shard: 0, openNow: true },
    { clock, dice: () => 0, random: randomBytes, onFailure },
  );
  try {
    const { shard } = opened;
    const { book } = shard;
    const serials = Array.from({ length: shard.scope.packets }, (_, serial) => serial);
    const cursors = shard.channels.map(({ position }) => position);
    const claimed = serials.filter((serial) => book.isClaimed(serial));
    const state = {
      cursors,
      claimed,
      lanes: structuredClone(book.lanes),
      winners: book.winnerCount,
      won: scene.prizes.map(({ user }) => book.wonBy(user)),
      acknowledged: book.acknowledged?.upTo,
      ledger: book.acknowledged?.ledgerId.toString("hex"),
      show: shard.programme.show,
      manifest: shard.manifest,
      expiresAtMs: shard.expiresAtMs,
    };
    await shard.journal.written(shard.journal.appendedOffset);
    const records = await recordsIn(opened.epochDir.node(0));
    // Behind the records: what was lost with a journal's end is opened, and claimed, once more.
    const opener = new Opener(shard);
    const shown = [];
    for (const prize of scene.prizes) shown.push(await opener.open(prize));
    return { cursors, claimed, shown, records, text: JSON.stringify([state, records, shown]) };
  } finally {
    await opened.shard.journal.close();
    await opened.release();
  }
}

async function recordsIn(dir: string): Promise<string[]> {
  const reader = await openJournalReader(dir);
  try {
    const records = [];
    for await (const { frame } of reader.entries())
      if (frame.type !== "durable") records.push(JSON.stringify(frame));
    return records;
  } finally {
    await reader.close();
  }
}

/** A node's own look at what it was given: every record of the seed file, as it would be handed out. */
export async function readAsVerifier({ roots, campaign }: Minted): Promise<string> {
  const mint = await verifyMint({ roots, campaign, shard: 0, openNow: true });
  const hash = createHash("sha256");
  try {
    for (const lane of mint.seeds.layout.lanes)
      for (let block = 0; block < lane.blocks; block++) hash.update(await mint.seeds.readBlock(lane, block));
  } finally {
    await mint.seeds.close();
  }
  return JSON.stringify([mint.manifest, mint.seeds.layout, hash.digest("hex")]);
}

/**
 * The ledger's word on the journal of a node that has started with it.
 * @returns why the node stops
 * @throws Error if it goes on
 */
export async function firstAnswer(scene: Scene): Promise<unknown> {
  const settlement = await Settlement.of(scene.minted);
  let failure: unknown;
  const node = await serveQuietly(scene.minted, 0, (error) => {
    failure = error;
  });
  try {
    const { forwarder } = node;
    forwarder.start(settlement.transport((ack) => forwarder.acknowledge(ack)));
    await until(() => failure !== undefined, ANSWER_MS_MAX);
    return failure;
  } finally {
    await node.stop();
    settlement.close();
  }
}

/** A worker that starts, and is sent everything again: nothing may be created a second time. */
export async function readAsWorker(scene: Scene, ledgerUrl?: string): Promise<string> {
  const clock = systemClock(new AbortController().signal);
  const { roots, campaign } = scene.minted;
  const books = await openBooks({ roots, campaign, ledgerUrl }, clock);
  try {
    const claims = scene.prizes.map(({ token, user, device }) => ({
      token: Buffer.from(token, "base64url"),
      user,
      device,
      atMs: 0,
    }));
    const checked = books.checker.check(0, claims);
    return JSON.stringify([
      books.manifest,
      checked.map((one) => (one.verdict === "authentic" ? one.cents : one)),
    ]);
  } finally {
    books.ledger.close();
  }
}

/** What finance would say, without the words of the findings. */
export interface FinanceReading {
  readonly report: ReconcileReport;
  /** Every figure of the report, as one text. */
  readonly figures: string;
  /** "shard-serial cents" of every credit, as far as the ledger can be read. */
  readonly credits: readonly string[];
}

export async function readAsFinance(
  scene: Scene,
  ledgerUrl?: string,
  audit = false,
): Promise<FinanceReading> {
  const { roots, campaign } = scene.minted;
  const report = await reconcile({ roots, campaign, audit, ledgerUrl });
  const sums = (row: ReconcileReport | ReconcileReport["byShard"][number]) =>
    STATES.map((state) => row[state]);
  const { budget, byShard, byAd, ledger, counts } = report;
  const money = ledger && [ledger.debitCents, ledger.creditCents];
  const figures = JSON.stringify([budget, sums(report), byShard.map(sums), byAd, money, counts]);
  return { report, figures, credits: creditsIn(ledgerUrl ?? scene.minted.epochDir.of.ledger) };
}

function creditsIn(path: string): string[] {
  try {
    const ledger = readLedger(path);
    try {
      return [...ledger.credits()].map(({ shard, serial, cents }) => `${shard}-${serial} ${cents}`);
    } finally {
      ledger.close();
    }
  } catch {
    // Whoever reads it for money has refused it as well.
    return [];
  }
}
