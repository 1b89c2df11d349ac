import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatCsv, writeCsv } from "../../../scripts/reconcile/csv.ts";
import { Findings, LISTED_MAX } from "../../../scripts/reconcile/findings.ts";
import { formatHtml } from "../../../scripts/reconcile/html.ts";
import type { ReconcileReport } from "../../../scripts/reconcile/report.ts";
import { noSums } from "../../../scripts/reconcile/shard-books.ts";
import { formatReport, verdict } from "../../../scripts/reconcile/text.ts";

const budget = { packets: 10_000, cents: 8_888_800 };

function report(findings = new Findings(), name = "Sponsor A"): ReconcileReport {
  const sums = {
    ...noSums(),
    unissued: { packets: 4000, cents: 4_000_000 },
    credited: { packets: 6000, cents: 4_888_800 },
  };
  return {
    campaign: "gala-2027",
    epoch: 1,
    mode: "test",
    balanced: findings.unbalancing === 0,
    budget,
    ...sums,
    byShard: [{ shard: 0, journal: "ab".repeat(16), budget, ...sums }],
    byAd: [{ ad: 1, name, budget, ...sums }],
    ledger: null,
    counts: findings.counts,
    findings: findings.list,
  };
}

function twoFindings(): Findings {
  const findings = new Findings();
  findings.add("forged", { epoch: 1, shard: 0, serial: 7 }, 'by <script>alert(1)</script>\u001b[31m, "x"');
  findings.add("credited-twice", { epoch: 1, shard: 0, serial: 4711 }, '=HYPERLINK("x")');
  return findings;
}

describe("the verdict", () => {
  it("is one line that says it all", () => {
    expect(verdict(report())).toBe("BALANCED  10,000 packets, 88,888.00: every cent accounted for");
    expect(verdict(report(twoFindings()))).toBe("DOES NOT BALANCE  1 finding: 1 credited-twice");
  });
});

describe("the text", () => {
  it("begins with the verdict and shows only columns that say something", () => {
    const text = formatReport(report(twoFindings()));
    const lines = text.split("\n");
    expect(lines[0]).toMatch(/^DOES NOT BALANCE/);
    expect(lines[1]).toBe("campaign gala-2027, epoch 1, TEST campaign");
    expect(text).toMatch(/budget +unissued +credited\n/);
    expect(text).toMatch(/1-0-4711 {2}=HYPERLINK/);
    expect(text.endsWith("\n")).toBe(true);
  });

  it("lets nobody's name speak to the terminal", () => {
    expect(formatReport(report(twoFindings(), "\u001b[2Jx"))).not.toContain("\u001b");
  });
});

describe("the tables", () => {
  it("quote what needs it and disarm formulas", () => {
    expect(formatCsv([["a,b", 'say "x"', "=1+1", "-2", 3, "line\nline"]])).toBe(
      `"a,b","say ""x""",'=1+1,'-2,3,"line\nline"\r\n`,
    );
  });

  it("are three files that another run replaces", async () => {
    const dir = mkdtempSync(join(tmpdir(), "csv-"));
    try {
      await writeCsv(report(), join(dir, "new"));
      const files = await writeCsv(report(twoFindings()), join(dir, "new"));
      expect(files.map((file) => file.split("/").at(-1))).toEqual([
        "by-shard.csv",
        "by-ad.csv",
        "findings.csv",
      ]);
      const [shards, ads, findings] = files.map((file) => readFileSync(file, "utf8").split("\r\n"));
      expect(shards?.[0]).toMatch(/^shard,journal,budget_packets,budget_cents,unissued_packets/);
      expect(ads?.[1]).toBe("1,Sponsor A,10000,8888800,4000,4000000,0,0,0,0,0,0,6000,4888800,0,0,0,0");
      expect(findings).toHaveLength(4);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describe("the page", () => {
  it("stands alone and escapes everything that came from a file", () => {
    const page = formatHtml(report(twoFindings(), "<b>&"));
    expect(page).not.toMatch(/<script|<b>|src=|href=/);
    expect(page).toContain("&lt;script&gt;");
    expect(page).toContain("&lt;b&gt;&amp;");
    expect(page).toContain("TEST campaign");
  });
});

describe("findings", () => {
  it("are all counted and listed up to a limit", () => {
    const findings = new Findings();
    for (let serial = 0; serial < LISTED_MAX + 5; serial++)
      findings.add("opened-uncredited", { epoch: 1, shard: 0, serial }, "x");
    findings.add("corrupt", undefined, "y");
    expect(findings.counts).toEqual({ corrupt: 1, "opened-uncredited": LISTED_MAX + 5 });
    expect(findings.list).toHaveLength(LISTED_MAX + 1);
    expect(findings.list[0]).toEqual({ class: "corrupt", packet: null, detail: "y" });
    expect(findings.unbalancing).toBe(1);
  });
});
