/**
 * A small show with real parts, for the checker's tests: minted seeds, a node without a socket, the real replay into
 * a ledger. Its clients' answers are kept as lines that a test may change before it asks the checker.
 */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import pino from "pino";
import { replayJournals } from "../../../../apps/credit-worker/replay.ts";
import type { Frame } from "../../../../core/format/frame.ts";
import { CampaignDir, type EpochDir, type Roots } from "../../../../core/store/campaign-dir.ts";
import { Journal } from "../../../../core/store/journal.ts";
import { type Account, check, type Evidence } from "../../../../scripts/torture/checker/check.ts";
import { formatObservation, type Observation } from "../../../../scripts/torture/checker/observation.ts";
import { type Minted, mint } from "../../../../scripts/torture/stage/minted.ts";
import { filesOf } from "../../../../scripts/torture/verdict.ts";
import { type Served, serve } from "../../../apps/access-node/served.ts";

type Changeable<T> = { -readonly [K in keyof T]: T[K] };
export type Line = Changeable<Observation>;

type Issue = Extract<Frame, { type: "issue" }>;

export const CAMPAIGN = "gala-test";

export interface World {
  readonly epochDir: EpochDir;
  readonly roots: Roots;
  /** What clients saw, in order: three users, a shake and an open each. */
  readonly seen: Line[];
  check(more?: Partial<Evidence>): Promise<Account>;
  /** Appends a frame to the journal that is made from its last hand-out. */
  append(frame: (last: Issue) => Frame): Promise<void>;
  /** What a database administrator could do. */
  sql(statements: string): void;
  remove(): void;
}

/** A show that was played, to be spoiled in copies. */
export interface Played {
  copy(): World;
  remove(): void;
}

/** Three users win and open; the node crashes once in between; everything is credited. */
export async function play(): Promise<Played> {
  const minted = await mint({ campaign: CAMPAIGN, packets: 60, budgetCents: 12_000, shards: 1 });
  const seen: Line[] = [];
  const first = await serve(minted);
  for (const user of ["ann", "bob"]) await shakeAndOpen(first, user, seen);
  await first.crash();
  const second = await serve(minted);
  await shakeAndOpen(second, "cat", seen);
  await second.stop();
  const { roots, campaign, epochDir } = minted;
  await replayJournals({ roots, campaign, dirs: [epochDir.node(0)] }, { log: pino({ level: "silent" }) });
  return { copy: () => copyOf(minted, seen), remove: () => minted.remove() };
}

function copyOf(minted: Minted, seen: readonly Line[]): World {
  const dir = mkdtempSync(join(tmpdir(), "hongbao-"));
  cpSync(join(minted.roots.dataDir, ".."), dir, { recursive: true });
  const roots = { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
  const epochDir = new CampaignDir(roots, CAMPAIGN).epoch(1);
  const lines = structuredClone(seen) as Line[];
  const observations = join(dir, "observations");
  return {
    epochDir,
    roots,
    seen: lines,
    check: (more) => {
      writeFileSync(observations, lines.map((line) => formatObservation(line)).join(""));
      return check({ files: filesOf(epochDir), observations, nodeKills: () => 1, ...more });
    },
    append: async (frame) => {
      const onFailure = (error: Error) => {
        throw error;
      };
      let last: Issue | undefined;
      const keep = ({ frame: read }: { frame: Frame }) => {
        if (read.type === "issue") last = read;
      };
      const journal = await Journal.recover(epochDir.node(0), keep, { onFailure });
      if (last === undefined) throw new Error("nothing was handed out");
      journal.append(frame(last));
      await journal.close();
    },
    sql: (statements) => {
      const db = new Database(epochDir.of.ledger);
      db.pragma("foreign_keys = OFF");
      db.pragma("ignore_check_constraints = ON");
      db.exec(statements);
      db.close();
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

async function shakeAndOpen(node: Served, user: string, seen: Line[]): Promise<void> {
  const holder = { user, device: "phone" };
  const shaken = await node.shake(holder, `${user}-1`);
  seen.push({ ask: "shake", ...holder, key: `${user}-1`, status: shaken.status, answer: shaken.body });
  const token = String(shaken.body["token"]);
  const opened = await node.open({ ...holder, token, pass: shaken.body["pass"] });
  seen.push({ ask: "open", ...holder, token, status: opened.status, answer: opened.body });
}
