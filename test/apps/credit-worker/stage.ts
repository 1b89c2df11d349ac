/** A worker's core on a real ledger: what the tests of crediting share. */
import { join } from "node:path";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import type { Books } from "../../../apps/credit-worker/books.ts";
import { ClaimChecker } from "../../../apps/credit-worker/claim-checker.ts";
import type { Clock } from "../../../apps/credit-worker/clock.ts";
import { Crediting } from "../../../apps/credit-worker/credit.ts";
import { Pace } from "../../../apps/credit-worker/pace.ts";
import { type Acknowledgement, decodeAck } from "../../../core/format/claim-batch.ts";
import { openLedger } from "../../../core/store/ledger.ts";
import { temporaryDirectory } from "../../core/store/ledger-world.ts";
import type { Mint } from "./mint.ts";

interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A logger whose lines can be asked for. */
export function listeningLog() {
  const lines: LogLine[] = [];
  const log = pino({ level: "debug" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { log, lines };
}

/** Time that only passes when somebody sleeps. */
export class TestClock implements Clock {
  now = 1000;
  readonly slept: number[] = [];
  onSleep: () => void = () => {};

  nowMs(): number {
    return this.now;
  }

  async sleep(ms: number): Promise<void> {
    this.slept.push(ms);
    this.now += ms;
    this.onSleep();
  }
}

export async function newCrediting(
  mint: Mint,
  rate?: number,
  path = join(temporaryDirectory(), "ledger.db"),
) {
  const ledger = await openLedger({ kind: "sqlite", path }, mint.file);
  onTestFinished(() => ledger.close());
  const books: Books = {
    manifest: mint.manifest,
    checker: new ClaimChecker(mint.manifest, mint.settlement),
    ledger,
  };
  const clock = new TestClock();
  const { log, lines } = listeningLog();
  const crediting = new Crediting(books, { pace: new Pace(rate, clock), clock, log });
  return { crediting, ledger, clock, lines, path };
}

/** Credits a batch that must be acknowledged, and opens the acknowledgement. */
export async function acknowledged(
  crediting: Crediting,
  mint: Mint,
  shard: number,
  batch: Uint8Array,
): Promise<Acknowledgement> {
  const answer = await crediting.credit(batch);
  if (answer.outcome !== "acknowledged") throw new Error(`the batch was ${answer.outcome}`);
  const ack = decodeAck(mint.keys(shard).wire, answer.ack);
  if (ack === undefined) throw new Error("the acknowledgement is not authentic");
  return ack;
}
