/**
 * The report as one page that stands alone: no script, no font, no request to anywhere; it prints. Everything
 * that came from a file is escaped, and the page forbids scripts besides.
 */
import { formatCents } from "../../core/format/money.ts";
import { CLASSES, type FindingClass, isUnbalancing } from "./findings.ts";
import type { ReconcileReport } from "./report.ts";
import { type Amount, STATES, type StateSums } from "./shard-books.ts";
import { verdict } from "./text.ts";

/** A page that a browser still opens: --json and --csv have all that is listed. */
const FINDINGS_PER_CLASS = 500;

const STYLE = `
:root { color-scheme: light dark; --ink: #1c1a17; --soft: #6d675e; --line: #ddd6ca; --paper: #fffdf9; --good: #1d6b3a; --bad: #a8201a; }
@media (prefers-color-scheme: dark) { :root { --ink: #ece7de; --soft: #a59d90; --line: #3c3831; --paper: #191714; --good: #7fc796; --bad: #f08a80; } }
body { margin: 0 auto; max-width: 72rem; padding: 3rem 1.5rem; background: var(--paper); color: var(--ink); font: 16px/1.55 Charter, Georgia, "Noto Serif", serif; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; font-weight: 600; }
h1.good { color: var(--good); } h1.bad { color: var(--bad); }
h2 { margin: 2.6rem 0 .6rem; font-size: 1.05rem; font-weight: 600; }
p { margin: .4rem 0; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums lining-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: baseline; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child, .text th, .text td { text-align: left; padding-left: 0; }
.text td:last-child { white-space: normal; overflow-wrap: anywhere; }
small { color: var(--soft); }
.bad { color: var(--bad); }
@media print { body { padding: 0; max-width: none; } }
`;

export function formatHtml(report: ReconcileReport): string {
  const title = `${report.campaign}, epoch ${report.epoch}${report.mode === "test" ? " (TEST campaign)" : ""}`;
  const shards = report.byShard.map((row) => ({ name: `shard ${row.shard}`, sums: row, budget: row.budget }));
  const ads = report.byAd.map((row) => ({ name: `${row.ad} ${row.name}`, sums: row, budget: row.budget }));
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
<h1 class="${report.balanced ? "good" : "bad"}">${escaped(verdict(report))}</h1>
<p>${escaped(title)}${report.ledger ? escaped(` · ledger ${report.ledger.id} · debits ${formatCents(report.ledger.debitCents)}, credits ${formatCents(report.ledger.creditCents)}`) : " · no ledger yet"}</p>
${section("The whole campaign", table([{ name: "all", sums: report, budget: report.budget }], report))}
${section("By shard", table(shards, report))}
${section("By ad", table(ads, report))}
${CLASSES.map((name) => findingSection(name, report)).join("")}${auditSection(report)}</html>
`;
}

interface TableRow {
  readonly name: string;
  readonly sums: StateSums;
  readonly budget: Amount;
}

function section(title: string, body: string): string {
  return `<h2>${title}</h2>\n<div class="wide">${body}</div>`;
}

function table(rows: readonly TableRow[], report: ReconcileReport): string {
  const states = STATES.filter((state) => report[state].packets > 0);
  const head = ["", "budget", ...states].map((name) => `<th>${name}</th>`).join("");
  const lines = rows.map(({ name, sums, budget }) => {
    const cells = [budget, ...states.map((state) => sums[state])].map(
      (amount) => `<td>${money(amount)}</td>`,
    );
    return `<tr><td>${escaped(name)}</td>${cells.join("")}</tr>`;
  });
  return `<table>\n<tr>${head}</tr>\n${lines.join("\n")}\n</table>`;
}

function findingSection(name: FindingClass, report: ReconcileReport): string {
  const total = report.counts[name];
  if (total === undefined) return "";
  const listed = report.findings.filter((finding) => finding.class === name).slice(0, FINDINGS_PER_CLASS);
  const rows = listed.map(
    ({ packet, detail }) => `<tr><td>${escaped(packet ?? "")}</td><td>${escaped(detail)}</td></tr>`,
  );
  const heading = `<h2${isUnbalancing(name) ? ' class="bad"' : ""}>${name} <small>${total}</small></h2>`;
  const more = total > listed.length ? `<p>… and ${total - listed.length} more</p>\n` : "";
  return `${heading}\n<table class="text">\n${rows.join("\n")}\n</table>\n${more}`;
}

function auditSection({ audit }: ReconcileReport): string {
  if (audit === undefined) return "";
  const lines = [
    ...audit.checked.map((what) => `<p>checked: ${escaped(what)}</p>`),
    ...audit.skipped.map((what) => `<p>not checked: ${escaped(what)}</p>`),
  ];
  return `<h2>Audit</h2>\n${lines.join("\n")}\n`;
}

function money({ packets, cents }: Amount): string {
  if (packets === 0 && cents === 0) return "<small>–</small>";
  return `${formatCents(cents)}<br><small>${packets}</small>`;
}

function escaped(text: string): string {
  return text
    .replace(/\p{Cc}/gu, "\u{fffd}")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
