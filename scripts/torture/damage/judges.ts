/**
 * What may come of a damage: a refusal that names the file, or the very same reading. A journal may end earlier, if
 * nothing is handed out twice and no claim is lost by it; a ledger may be behind, if finance says what is missing.
 */
import { HongbaoError } from "../../../core/format/error.ts";
import {
  type FinanceReading,
  firstAnswer,
  type NodeReading,
  readAsFinance,
  readAsNode,
  readAsVerifier,
  readAsWorker,
} from "./readers.ts";
import type { Scene } from "./scene.ts";

/** How it ended, to be counted; a violation begins with "!" and says what happened. */
export type Verdict = string;
export type Judge = () => Promise<Verdict>;

/** What an undamaged scene reads as. */
interface Baseline {
  readonly node: NodeReading;
  readonly verifier: string;
  readonly blocks: string;
  readonly worker: string;
  readonly finance: FinanceReading;
}

export class Bench {
  readonly scene: Scene;
  private readonly baseline: Baseline;

  private constructor(scene: Scene, baseline: Baseline) {
    this.scene = scene;
    this.baseline = baseline;
  }

  static async of(scene: Scene): Promise<Bench> {
    const node = await readAsNode(scene);
    scene.restore();
    const finance = await readAsFinance(scene);
    if (!finance.report.balanced || finance.credits.length !== scene.prizes.length)
      throw new Error("the undamaged scene does not balance");
    const verifier = await readAsVerifier(scene.minted);
    const blocks = await readAsVerifier(scene.blocks);
    return new Bench(scene, { node, verifier, blocks, worker: await readAsWorker(scene), finance });
  }

  /** A node starts with it. @param names one of these stands in a refusal */
  node(names: readonly string[]): Judge {
    return () =>
      refusedOr("node", names, async () =>
        (await readAsNode(this.scene)).text === this.baseline.node.text
          ? "node: the same"
          : "! a node reads it otherwise, and serves",
      );
  }

  verifier(names: readonly string[]): Judge {
    return () =>
      refusedOr("node", names, async () =>
        (await readAsVerifier(this.scene.minted)) === this.baseline.verifier
          ? "node: the same"
          : "! a node verifies other seeds",
      );
  }

  blocks(names: readonly string[]): Judge {
    return () =>
      refusedOr("node", names, async () =>
        (await readAsVerifier(this.scene.blocks)) === this.baseline.blocks
          ? "node: the same"
          : "! a node verifies other seeds",
      );
  }

  /** A node starts with this journal: it may have lost its end, but not a promise, or the ledger knows it. */
  journal(names: readonly string[]): Judge {
    return () =>
      refusedOr("node", names, async () => {
        const reading = await readAsNode(this.scene);
        const { node } = this.baseline;
        if (reading.text === node.text) return "node: the same";
        if (JSON.stringify(reading.shown) !== JSON.stringify(node.shown))
          return "! an opened packet shows another amount";
        if (!isPrefix(reading.records, node.records)) return "! a node reads other facts in its journal";
        const keepsCursors = reading.cursors.every((cursor, lane) => cursor >= (node.cursors[lane] ?? 0));
        const keepsClaims = node.claimed.every((serial) => reading.claimed.includes(serial));
        if (keepsCursors && keepsClaims) return "node: the tail is cut, no promise is lost";
        return await this.askLedger();
      });
  }

  worker(names: readonly string[], ledgerUrl?: string): Judge {
    return () =>
      refusedOr("worker", names, async () =>
        (await readAsWorker(this.scene, ledgerUrl)) === this.baseline.worker
          ? "worker: the same"
          : "! a worker reads it otherwise, and credits",
      );
  }

  /** @param ledgerUrl the ledger to read; the campaign's own if not given */
  finance(names: readonly string[], ledgerUrl?: string, audit = false): Judge {
    return () =>
      refusedOr("finance", names, async () => {
        const { report, figures, credits } = await readAsFinance(this.scene, ledgerUrl, audit);
        if (!report.balanced) return "finance: does not balance";
        if (figures === this.baseline.finance.figures) return "finance: the same";
        const isPart = credits.every((row) => this.baseline.finance.credits.includes(row));
        const missing = this.baseline.finance.credits.length - credits.length;
        const named = report.counts["opened-uncredited"] ?? 0;
        if (isPart && named >= missing && missing > 0) return "finance: balances, and names what is missing";
        return `! finance balances other figures: ${figures}`;
      });
  }

  private async askLedger(): Promise<Verdict> {
    this.scene.restoreBesideDamage();
    const failure = await firstAnswer(this.scene);
    return failure instanceof HongbaoError && failure.code === "owned_elsewhere"
      ? "node: stopped by the ledger's first answer"
      : `! a journal that lost promises is served: ${String(failure)}`;
  }
}

/** A journal that was cut says less, and what its node then burns; it never says anything else. */
function isPrefix(records: readonly string[], of: readonly string[]): boolean {
  const burned = records.findLastIndex((record) => !record.startsWith('{"type":"burn"'));
  return records.every((record, i) => record === of[i] || i > burned);
}

/** Any error of another kind is a violation, and so is a refusal that does not say what is refused. */
export async function refusedOr(
  who: string,
  names: readonly string[],
  read: () => Promise<Verdict>,
): Promise<Verdict> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof HongbaoError))
      return `! ${who}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
    if (!names.some((name) => error.message.includes(name)))
      return `! ${who} refuses without naming the file: ${error.message}`;
    return `${who}: ${error.code}`;
  }
}
