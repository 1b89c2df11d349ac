/**
 * The end of a show: the checker's account, the production reconcile, and that the two agree to the packet and the
 * cent. Neither knows of the other.
 */
import type { EpochDir } from "../../core/store/campaign-dir.ts";
import type { ReconcileReport } from "../reconcile/report.ts";
import { type Account, check, type Evidence } from "./checker/check.ts";
import type { CampaignFiles } from "./checker/files.ts";
import type { Violations } from "./experiment.ts";
import type { Minted } from "./stage/minted.ts";
import { hongbao } from "./stage/program.ts";

/** @param minted its programs are all stopped */
export async function verdict(
  minted: Minted,
  evidence: Omit<Evidence, "files">,
  violations: Violations,
): Promise<Account> {
  const account = await check({ ...evidence, files: filesOf(minted.epochDir) });
  for (const name of ["lost", "duplicated", "unexpected"] as const)
    for (let i = 0; i < account[name]; i++) violations.add(account.violations.filter(is(name))[i] ?? name);
  const { seedsDir, keysDir, dataDir } = minted.roots;
  const { code, stdout, stderr } = await hongbao(["reconcile", minted.campaign, "--json"], {
    SEEDS_DIR: seedsDir,
    KEYS_DIR: keysDir,
    DATA_DIR: dataDir,
  });
  violations.expect(code === 0, `reconcile ended with ${code}: ${stderr}`);
  for (const difference of disagreements(account, JSON.parse(stdout) as ReconcileReport))
    violations.add(difference);
  return account;
}

/** What an experiment's line of JSON says of it. */
export function figuresOf({ violations: _, ...account }: Account) {
  return account;
}

export function filesOf(epoch: EpochDir): CampaignFiles {
  return {
    manifest: epoch.manifest,
    settlementKey: epoch.settlementKey,
    ledger: epoch.of.ledger,
    seed: (shard) => epoch.seed(shard),
    journal: (shard) => epoch.node(shard),
  };
}

/** @returns in words, where reconcile counts otherwise than the checker, or does not balance */
export function disagreements(account: Account, report: ReconcileReport): string[] {
  const differing = (["unissued", "burned", "issued", "opened", "rejected", "credited"] as const).filter(
    (state) =>
      account.states[state].packets !== report[state].packets ||
      account.states[state].cents !== report[state].cents,
  );
  const words = differing.map(
    (state) =>
      `reconcile counts ${JSON.stringify(report[state])} as ${state}, the checker ${JSON.stringify(account.states[state])}`,
  );
  return report.balanced ? words : [`the books do not balance: ${JSON.stringify(report.counts)}`, ...words];
}

function is(name: string): (words: string) => boolean {
  return (words) => words.startsWith(`${name}:`);
}
