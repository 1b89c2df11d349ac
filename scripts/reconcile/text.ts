/**
 * The report for a terminal: the verdict in the first line, then where the money is, then what was found. Only
 * columns that say something are shown. Names that came from outside are stripped of control characters.
 */
import { formatCents } from "../../core/format/money.ts";
import { CLASSES, isUnbalancing } from "./findings.ts";
import type { ReconcileReport } from "./report.ts";
import { type Amount, STATES, type StateSums } from "./shard-books.ts";

const LISTED_PER_CLASS = 10;
const ROWS_MAX = 200;

export function formatReport(report: ReconcileReport): string {
  const test = report.mode === "test" ? ", TEST campaign" : "";
  return [
    verdict(report),
    `campaign ${report.campaign}, epoch ${report.epoch}${test}`,
    "",
    ...table("", [{ name: "all", sums: report, budget: report.budget }], report),
    "",
    ...table(
      "shard",
      report.byShard.map((row) => ({ name: String(row.shard), sums: row, budget: row.budget })),
      report,
    ),
    "",
    ...table(
      "ad",
      report.byAd.map((row) => ({ name: `${row.ad} ${clean(row.name)}`, sums: row, budget: row.budget })),
      report,
    ),
    ...findingLines(report),
    ...auditLines(report),
    "",
  ].join("\n");
}

/** The one sentence that everybody reads. */
export function verdict(report: ReconcileReport): string {
  const { budget } = report;
  if (report.balanced)
    return `BALANCED  ${count(budget.packets)} packets, ${formatCents(budget.cents)}: every cent accounted for`;
  const grave = CLASSES.filter((name) => isUnbalancing(name) && report.counts[name] !== undefined);
  const found = grave.reduce((sum, name) => sum + (report.counts[name] ?? 0), 0);
  const named = grave.map((name) => `${count(report.counts[name] ?? 0)} ${name}`).join(", ");
  return `DOES NOT BALANCE  ${count(found)} ${found === 1 ? "finding" : "findings"}: ${named}`;
}

interface TableRow {
  readonly name: string;
  readonly sums: StateSums;
  readonly budget: Amount;
}

function table(title: string, rows: readonly TableRow[], report: ReconcileReport): string[] {
  const states = STATES.filter((state) => report[state].packets > 0);
  const cells = [
    [title, "budget", ...states],
    ...rows
      .slice(0, ROWS_MAX)
      .map(({ name, sums, budget }) => [name, amount(budget), ...states.map((state) => amount(sums[state]))]),
  ];
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  );
  const lines = cells.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("   ")
      .trimEnd(),
  );
  const more = rows.length - ROWS_MAX;
  return more > 0 ? [...lines, `… and ${count(more)} more (--json and --csv have all)`] : lines;
}

function findingLines(report: ReconcileReport): string[] {
  const lines: string[] = [];
  for (const name of CLASSES) {
    const total = report.counts[name];
    if (total === undefined) continue;
    lines.push("", `${name}: ${count(total)}${isUnbalancing(name) ? "  (unbalances)" : ""}`);
    const listed = report.findings.filter((finding) => finding.class === name).slice(0, LISTED_PER_CLASS);
    for (const { packet, detail } of listed) lines.push(`  ${packet ? `${packet}  ` : ""}${clean(detail)}`);
    if (total > listed.length) lines.push(`  … and ${count(total - listed.length)} more`);
  }
  return lines;
}

function auditLines({ audit }: ReconcileReport): string[] {
  if (audit === undefined) return [];
  return [
    "",
    "audit",
    ...audit.checked.map((what) => `  checked: ${what}`),
    ...audit.skipped.map((what) => `  not checked: ${what}`),
  ];
}

function amount({ packets, cents }: Amount): string {
  return packets === 0 && cents === 0 ? "-" : `${count(packets)} · ${formatCents(cents)}`;
}

function count(value: number): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

function clean(text: string): string {
  return text.replace(/\p{Cc}/gu, "\u{fffd}");
}
