/**
 * The end of a life as finance sees it: its files are written to a real disk, and the production reconcile reads them.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { CampaignDir } from "../../../core/store/campaign-dir.ts";
import { reconcile } from "../../reconcile/reconcile.ts";
import { SIMULATED_ROOTS } from "./deck.ts";
import type { SimulatedLife } from "./simulated-life.ts";

/** Reconcile must say "balanced", and count what the onlookers counted. */
export async function accountedFor({ world, nodes }: SimulatedLife): Promise<void> {
  const { deck, ledger, violations, tallies } = world;
  const dir = mkdtempSync(join(tmpdir(), "hongbao-simulated-books-"));
  try {
    const roots = { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
    cpSync(deck.roots.keysDir, roots.keysDir, { recursive: true });
    for (const { machine } of nodes)
      for (const [path, bytes] of machine.files())
        for (const root of ["seedsDir", "dataDir"] as const)
          if (path.startsWith(`${SIMULATED_ROOTS[root]}/`))
            put(join(roots[root], path.slice(SIMULATED_ROOTS[root].length)), bytes);
    put(new CampaignDir(roots, deck.campaign).ledger, ledger.bytes());
    const report = await reconcile({ roots, campaign: deck.campaign, audit: false });
    tallies.count("reconciled");
    const grave = report.findings.slice(0, 3).map((finding) => JSON.stringify(finding));
    violations.expect(report.balanced, `the books do not balance: ${grave.join(" ")}`);
    const { credited, creditedCents, overQuota } = ledger.settle();
    const isSame = report.credited.packets === credited && report.credited.cents === creditedCents;
    violations.expect(
      isSame,
      `finance counts ${report.credited.packets} credited, the onlookers ${credited}`,
    );
    violations.expect(
      (report.counts["over-quota"] ?? 0) === overQuota,
      `finance counts other refusals: ${JSON.stringify(report.counts)}`,
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function put(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}
