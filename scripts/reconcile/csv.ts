/**
 * The report as tables for a spreadsheet: by-shard.csv, by-ad.csv, findings.csv (RFC 4180). Cents stay whole
 * numbers. Users choose their own names, and a spreadsheet runs what looks like a formula: such a cell is
 * written behind an apostrophe.
 */
import { join } from "node:path";
import { makeDirectory, replace } from "../../core/store/durable.ts";
import type { ReconcileReport } from "./report.ts";
import { type Amount, STATES, type StateSums } from "./shard-books.ts";

type Cell = string | number;

/** Writes the three files, replacing those of an earlier run. @returns their paths */
export async function writeCsv(report: ReconcileReport, dir: string): Promise<string[]> {
  const columns = ["budget", ...STATES].flatMap((name) => [`${name}_packets`, `${name}_cents`]);
  const files: [string, Cell[][]][] = [
    [
      "by-shard.csv",
      [
        ["shard", "journal", ...columns],
        ...report.byShard.map((row) => [row.shard, row.journal ?? "", ...sums(row)]),
      ],
    ],
    [
      "by-ad.csv",
      [["ad", "name", ...columns], ...report.byAd.map((row) => [row.ad, row.name, ...sums(row)])],
    ],
    [
      "findings.csv",
      [
        ["class", "packet", "detail"],
        ...report.findings.map((finding) => [finding.class, finding.packet ?? "", finding.detail]),
      ],
    ],
  ];
  await makeDirectory(dir);
  for (const [name, rows] of files) await replace(join(dir, name), formatCsv(rows));
  return files.map(([name]) => join(dir, name));
}

export function formatCsv(rows: readonly (readonly Cell[])[]): string {
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

function sums(row: StateSums & { readonly budget: Amount }): number[] {
  return [row.budget, ...STATES.map((state) => row[state])].flatMap(({ packets, cents }) => [packets, cents]);
}

function cell(value: Cell): string {
  if (typeof value === "number") return String(value);
  const harmless = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
