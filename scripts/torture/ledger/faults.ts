/**
 * What can happen to a ledger while the show goes on. Each fault begins and ends in a calm; whatever it breaks must
 * be said in a sentence, hold up no guest, and cost nobody a cent.
 */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { HongbaoError } from "../../../core/format/error.ts";
import { readLedger } from "../../../core/store/ledger-reader.ts";
import { reconcile } from "../../reconcile/reconcile.ts";
import type { SeededRandom } from "../random.ts";
import { until } from "../stage/until.ts";
import { breakIn } from "./break-in.ts";
import { copyLedger, moveLedger, type Payday } from "./payday.ts";
import { difference, ledgerRows } from "./rows.ts";

const OTHERS_A_SHOW = 4;
/** Of util-linux: changes the limits of a program that runs. */
const LIMITER = "prlimit";
const LOCKED_MS = 1_500;
const SAID_MS_MAX = 30_000;
const PAGE_BYTES = 4096;

type Fault = (day: Payday) => Promise<void>;

/** @returns some of them, in an order of their own; a break-in is always among them */
export function someFaults(random: SeededRandom): Fault[] {
  const others = [secondWriter, locked, diskFull, gone, replaced, corrupted, restored];
  return random.shuffled([brokenInto, ...random.shuffled(others).slice(0, OTHERS_A_SHOW)]);
}

/** Two workers on one file: each claim is credited once, and neither fails. */
async function secondWriter(day: Payday): Promise<void> {
  const second = day.newWorker();
  try {
    await second.start(false);
    await day.crowd();
    await until(() => second.stderr.includes("crediting"), SAID_MS_MAX);
    await day.crowd();
    await day.calm();
    await day.stopWorker(second);
  } finally {
    await second.kill();
  }
}

/** Somebody's transaction holds the ledger: crediting waits, opening does not. */
async function locked(day: Payday): Promise<void> {
  const shell = new Database(day.ledger);
  try {
    shell.exec("BEGIN IMMEDIATE");
    const before = day.show.credited().size;
    await day.crowd();
    await until(() => day.worker.stderr.includes("the ledger is locked: crediting waits"), SAID_MS_MAX);
    await sleep(LOCKED_MS);
    await day.crowd();
    day.violations.expect(day.show.credited().size === before, "a locked ledger was written");
    shell.exec("ROLLBACK");
  } finally {
    shell.close();
  }
  await day.calm();
}

/** No file may grow any more, as on a full disk: the worker stops; with room again it goes on. */
async function diskFull(day: Payday): Promise<void> {
  const log = statSync(`${day.ledger}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  execFileSync(LIMITER, ["--pid", `${day.worker.pid}`, `--fsize=${log}`]);
  await day.crowd();
  await day.refuses(/the ledger .* (cannot grow, the disk is full|could not be read or written)/);
  await day.startWorker();
  await day.calm();
}

/** The file is moved away under a running worker: it must not credit into nowhere. */
async function gone(day: Payday): Promise<void> {
  const away = `${day.ledger}.away`;
  moveLedger(day.ledger, away);
  await day.crowd();
  await day.refuses(/was removed or replaced while in use/);
  moveLedger(away, day.ledger);
  await day.startWorker();
  await day.calm();
}

/** A copy is put in its place under a running worker, and taken away again. */
async function replaced(day: Payday): Promise<void> {
  const [own, copy] = [`${day.ledger}.own`, `${day.ledger}.copy`];
  linkSync(day.ledger, own);
  copyFileSync(day.ledger, copy);
  renameSync(copy, day.ledger);
  await day.crowd();
  await day.refuses(/was removed or replaced while in use/);
  renameSync(own, day.ledger);
  await day.startWorker();
  await day.calm();
}

/** A page is noise: reconcile says so, and a replay into a new file gives the same books. */
async function corrupted(day: Payday): Promise<void> {
  await day.stopWorker();
  const before = ledgerRows(day.ledger);
  const pages = statSync(day.ledger).size / PAGE_BYTES;
  const page = 1 + day.random.below(pages - 1);
  const file = openSync(day.ledger, "r+");
  writeSync(file, Buffer.alloc(PAGE_BYTES, 0xa5), 0, PAGE_BYTES, page * PAGE_BYTES);
  closeSync(file);
  const { roots, campaign } = day.show;
  const verdict = await reconcile({ roots, campaign: campaign.campaign, audit: false }).then(
    ({ balanced, counts }) => (balanced ? "balanced" : Object.keys(counts).join(" ")),
    (error) => (error instanceof HongbaoError ? error.code : String(error)),
  );
  day.violations.expect(/corrupt/.test(verdict), `of noise in page ${page}, reconcile said: ${verdict}`);
  rmSync(day.ledger);
  const { code, stderr } = await day.replay(day.ledger);
  day.violations.expect(code === 0, `the replay ended with ${code}: ${stderr}`);
  const unlike = difference(before, ledgerRows(day.ledger));
  day.violations.expect(unlike === undefined, `rebuilt after noise in page ${page}: ${unlike}`);
  await day.startWorker();
  await day.crowd();
  await day.calm();
}

/** An older copy is restored: the nodes find that it lacks what it had acknowledged, and send it again. */
async function restored(day: Payday): Promise<void> {
  await day.stopWorker();
  const backup = `${day.ledger}.backup`;
  copyLedger(day.ledger, backup);
  await day.startWorker();
  await day.crowd();
  await day.calm();
  await day.stopWorker();
  copyLedger(backup, day.ledger);
  await day.startWorker();
  await day.restartNodes();
  await day.calm();
}

/** Claims that no node takes stand in a journal: each is refused, and everybody else is paid. */
async function brokenInto(day: Payday): Promise<void> {
  await day.stopNodes();
  const ledger = readLedger(day.ledger);
  const paid = day.random.pick([...ledger.credits()]);
  ledger.close();
  await breakIn(day.show.campaign.epoch(paid.epoch), paid);
  await Promise.all(day.nodes.map((node) => node.start()));
  await day.crowd();
  await day.calm();
}
