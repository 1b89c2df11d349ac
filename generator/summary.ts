/**
 * What a mint reports, as data for scripts and as text for people. Amounts are cents in the data and decimals
 * in the text; the text says TEST as often as it names a test campaign.
 */
import type { Mode } from "../core/format/campaign.ts";
import type { Manifest } from "../core/format/manifest.ts";
import { formatCents } from "../core/format/money.ts";
import { seedLayout } from "../core/format/seedfile.ts";
import { TOKEN_BYTES } from "../core/format/token.ts";
import type { Check } from "./books.ts";
import type { Plan } from "./plan.ts";
import type { Bar } from "./tally.ts";

export interface GenerateReport {
  readonly campaign: string;
  readonly mode: Mode;
  readonly epoch: number;
  /** hex */
  readonly planHash: string;
  readonly dryRun: boolean;
  /** the epoch was whole before this run, which changed nothing */
  readonly alreadyComplete: boolean;
  readonly packets: number;
  readonly budgetCents: number;
  readonly expiresAt: string;
  readonly ads: readonly AdReport[];
  readonly shards: readonly ShardReport[];
  readonly histogram: readonly Bar[];
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  readonly checks: readonly Check[];
  readonly warnings: readonly string[];
  readonly lanes: { readonly total: number; readonly resumed: number };
  readonly durationMs: number;
  /** the command to run next */
  readonly next: string;
}

export interface AdReport {
  readonly id: number;
  readonly name: string;
  readonly rule: string;
  readonly packets: number;
  readonly cents: number;
  /** sealed records, without the shards' headers */
  readonly bytes: number;
}

export interface ShardReport {
  readonly shard: number;
  readonly packets: number;
  readonly cents: number;
  readonly bytes: number;
}

/** What plan and manifest say in the same words. */
export function reportRows(of: Plan | Manifest): { ads: AdReport[]; shards: ShardReport[]; lanes: number } {
  const shards = of.shards.map(({ shard, packets, cents, lanes }) => {
    return { shard, packets, cents, bytes: seedLayout(lanes).fileBytes };
  });
  const ads = of.ads.map(({ id, name, rule, packets, cents }) => {
    return { id, name, rule, packets, cents, bytes: packets * TOKEN_BYTES };
  });
  return { ads, shards, lanes: of.shards.reduce((sum, { lanes }) => sum + lanes.length, 0) };
}

export function formatReport(report: GenerateReport): string {
  const mode = report.mode === "test" ? "TEST" : "LIVE";
  const lines = [
    `${report.campaign} (${mode}), epoch ${report.epoch}: ${headline(report)}`,
    `${number(report.packets)} packets, ${formatCents(report.budgetCents)} in all, until ${report.expiresAt}`,
    "",
    ...table(
      ["ad", "packets", "amount", "bytes", "rule"],
      report.ads.map((ad) => [
        `${ad.id} ${ad.name}`,
        number(ad.packets),
        formatCents(ad.cents),
        number(ad.bytes),
        ad.rule,
      ]),
    ),
    "",
    ...table(
      ["shard", "packets", "amount", "bytes", ""],
      shorten(report.shards).map((row) =>
        typeof row === "string"
          ? [row, "", "", "", ""]
          : [`${row.shard}`, number(row.packets), formatCents(row.cents), number(row.bytes), ""],
      ),
    ),
    "",
    ...bars(report.histogram),
    ...report.checks.map(({ name, ok, detail }) => `${ok ? "ok     " : "FAILED "} ${name}: ${detail}`),
    ...report.warnings.map((warning) => `warning ${warning}`),
    "",
    `next: ${report.next}`,
  ];
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}

function headline({ dryRun, alreadyComplete, lanes, durationMs, packets }: GenerateReport): string {
  if (dryRun) return "a dry run, nothing was written";
  if (alreadyComplete) return "already complete, nothing to resume";
  const seconds = Math.max(1, durationMs) / 1000;
  const resumed = lanes.resumed > 0 ? `, ${lanes.resumed} of ${lanes.total} lanes from an earlier run` : "";
  return `minted in ${seconds.toFixed(1)} s (${number(Math.round(packets / seconds))} packets/s)${resumed}`;
}

const BAR_CHARS = 40;

function bars(histogram: readonly Bar[]): string[] {
  const most = Math.max(1, ...histogram.map(({ packets }) => packets));
  const rows = histogram.map(({ fromCents, toCents, packets, cents }) => [
    fromCents === toCents ? formatCents(fromCents) : `${formatCents(fromCents)} - ${formatCents(toCents)}`,
    number(packets),
    formatCents(cents),
    "",
    "#".repeat(Math.ceil((packets * BAR_CHARS) / most)),
  ]);
  return rows.length === 0 ? [] : [...table(["each", "packets", "amount", "", ""], rows), ""];
}

const SHARDS_SHOWN = 20;

function shorten(shards: readonly ShardReport[]): (ShardReport | string)[] {
  if (shards.length <= SHARDS_SHOWN) return [...shards];
  return [...shards.slice(0, SHARDS_SHOWN), `${shards.length - SHARDS_SHOWN} more, see --json`];
}

/** The first and last columns are words, the others numbers. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, column) =>
        column === 0 || column === row.length - 1
          ? cell.padEnd(widths[column] ?? 0)
          : cell.padStart(widths[column] ?? 0),
      )
      .join("  "),
  );
}

function number(value: number): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}
