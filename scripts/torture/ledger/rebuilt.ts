/**
 * After the show: the ledger of another mint is refused, and one rebuilt from the journals, by a replay that is
 * killed on its way and run again, holds the same rows as the one that lived through everything.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openLedger } from "../../../core/store/ledger.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import { reconcile } from "../../reconcile/reconcile.ts";
import type { LastCall } from "../crash/last-call.ts";
import { callOf, type Point } from "../crash/point.ts";
import type { Minted } from "../stage/minted.ts";
import type { Payday } from "./payday.ts";
import { difference, ledgerRows } from "./rows.ts";

const KILLS_MAX = 3;
/** Of a replay of a small show: some to the new file, more to its log. */
const FIRST_WRITES = 8;
const LOG_WRITES = 24;

/** @returns how often the replay was killed */
export async function rebuild(day: Payday, dir: string, lastCall: LastCall): Promise<number> {
  const { violations, random, show } = day;
  const path = join(dir, "rebuilt", "ledger.db");
  let kills = 0;
  while (kills < 1 + random.below(KILLS_MAX)) {
    const watched = lastCall.environment(dir, join(dir, `replay-${kills}.log`), somewhere(day));
    const { code, stderr } = await day.replay(path, watched.env);
    if (!watched.life().wasKilled) {
      violations.expect(code === 0, `a replay ended with ${code}: ${stderr}`);
      break;
    }
    kills++;
  }
  const { code, stderr } = await day.replay(path);
  violations.expect(code === 0, `the replay after ${kills} kills ended with ${code}: ${stderr}`);
  const unlike = difference(ledgerRows(day.ledger), ledgerRows(path));
  violations.expect(unlike === undefined, `rebuilt after ${kills} kills: ${unlike}`);
  const { campaign } = show.campaign;
  const { balanced } = await reconcile({ roots: show.roots, campaign, ledgerUrl: path, audit: false });
  violations.expect(balanced, "the books do not balance with the rebuilt ledger");
  return kills;
}

/** In the making of the file, or in the crediting. */
function somewhere({ random }: Payday): Point {
  const how = random.pick(["before", "half", "after"] as const);
  if (random.chance(0.3))
    return { call: callOf("write", "rebuilt/.ledger.db.*.tmp"), nth: 1 + random.below(FIRST_WRITES), how };
  return { call: callOf("write", "rebuilt/ledger.db-wal"), nth: 1 + random.below(LOG_WRITES), how };
}

/** @param other the same campaign, minted by somebody else */
export async function refuseOther(day: Payday, dir: string, other: Minted): Promise<void> {
  const path = join(dir, "other.db");
  const ledger = await openLedger({ kind: "sqlite", path }, await readManifest(other.epochDir));
  ledger.close();
  const before = readFileSync(path);
  const { code, stderr } = await day.replay(path);
  day.violations.expect(
    code === 2 && /keeps the books of another mint/.test(stderr),
    `given the ledger of another mint, the replay ended with ${code}: ${stderr}`,
  );
  const worker = day.newWorker({ LEDGER_URL: path });
  await worker.start(false);
  await day.refuses(/keeps the books of another mint/, worker);
  day.violations.expect(readFileSync(path).equals(before), "the ledger of another mint was written");
}
