/**
 * Reconcile: every packet of a campaign in exactly one state, its furthest, and every cent accounted for, from
 * manifest, seeds, settlement key, journals and ledger. It only reads, and may run while the show runs.
 *
 * What makes the inputs another campaign's, or not readable at all, is refused (an exception). What is wrong
 * inside them is a finding, and the rest is still accounted for.
 */
import { campaignTag } from "../../core/format/token.ts";
import { CampaignDir, type Roots } from "../../core/store/campaign-dir.ts";
import { exists } from "../../core/store/durable.ts";
import { readMintKey } from "../../core/store/keystore.ts";
import { checkSignatures, type ManifestFile, readManifest } from "../../core/store/manifest-file.ts";
import { audit } from "./audit.ts";
import { Findings } from "./findings.ts";
import { findJournals, readOwners } from "./journal-finder.ts";
import { reportPosting, reportRejection, unknownPacket } from "./ledger-entries.ts";
import { LedgerSnapshot } from "./ledger-snapshot.ts";
import { RefusedClaims } from "./refused-claims.ts";
import { type LedgerTotals, makeReport, type ReconcileReport } from "./report.ts";
import { accountShard, type ShardAccount, type Sources } from "./shard-account.ts";

export interface ReconcileOptions {
  readonly roots: Roots;
  readonly campaign: string;
  /** Default: the highest complete one. */
  readonly epoch?: number | undefined;
  /** LEDGER_URL; default: the campaign's own ledger. */
  readonly ledgerUrl?: string | undefined;
  /** Node directories, or parents of several; default: every shard's own node directory. */
  readonly journalDirs?: readonly string[] | undefined;
  readonly audit: boolean;
}

/**
 * @throws HongbaoError `missing_file`, `missing_key_file`, `key_mismatch`, `invalid_manifest`,
 *   `invalid_signature`, `missing_signature`, `ledger_mismatch`, `unreadable_file`, …
 */
export async function reconcile(options: ReconcileOptions): Promise<ReconcileReport> {
  const directory = new CampaignDir(options.roots, options.campaign);
  const epoch = await directory.completeEpoch(options.epoch);
  const file = await readManifest(epoch);
  const keys = await readMintKey("settlement", epoch.settlementKey, file.manifest);
  await checkSignatures(epoch, file, keys.publicKeys);
  const findings = new Findings();
  // The ledger first: whatever it credits now, the journals that are read after it know already.
  const ledger = new LedgerSnapshot(options.ledgerUrl, directory.ledger, file, findings);
  try {
    const of = { campaignTag: campaignTag(file.manifest.campaign), shards: file.manifest.shards.length };
    // A node makes its journal before its owner record: whoever is seen to have started has a journal.
    const owners = await readOwners(epoch, file.manifest);
    const journals = await findJournals(options.journalDirs, epoch, of, findings);
    const refused = new RefusedClaims(ledger, findings);
    const accounts = await accountShards({ epoch, file, keys, owners, journals, ledger, refused, findings });
    await missLedger(accounts, ledger, findings);
    const totals = ledgerTotals(ledger, file);
    const notes = options.audit ? await audit(epoch, file, keys, findings) : undefined;
    return makeReport(file.manifest, accounts, totals, findings, notes);
  } finally {
    ledger.close();
  }
}

async function accountShards(sources: Sources): Promise<ShardAccount[]> {
  const { manifest } = sources.file;
  const accounts = [];
  for (const shard of manifest.shards) {
    reportStrays(sources, manifest.epoch, shard.shard);
    accounts.push(await accountShard(shard, sources));
  }
  reportStrays(sources, Number.POSITIVE_INFINITY, 0);
  return accounts;
}

/** Ledger rows that belong to no shard of this mint. */
function reportStrays({ ledger, findings }: Sources, epoch: number, shard: number): void {
  for (const row of ledger.credits.before(epoch, shard)) {
    const { class: name, detail } = unknownPacket(row);
    findings.add(name, row, detail);
  }
  for (const row of ledger.rejections.before(epoch, shard)) reportRejection(row, findings);
  for (const fault of ledger.postingFaults.before(epoch, shard)) reportPosting(fault, findings, false);
}

/** A node was told "it is in the ledger", and there is none here: the books cannot be complete. */
async function missLedger(
  accounts: readonly ShardAccount[],
  ledger: LedgerSnapshot,
  findings: Findings,
): Promise<void> {
  const shards = accounts.flatMap(({ acknowledged }, shard) => (acknowledged ? [shard] : []));
  // A ledger that came into being since the snapshot is no missing one.
  if (shards.length === 0 || (await exists(ledger.path))) return;
  findings.add(
    "missing-ledger",
    undefined,
    `the journals of shards ${shards.join(", ")} say that claims were credited, but there is no ledger at ${ledger.path}: set LEDGER_URL, or run \`hongbao credit --replay\``,
  );
}

function ledgerTotals(ledger: LedgerSnapshot, { manifest }: ManifestFile): LedgerTotals | null {
  const totals = ledger.totals({ packets: manifest.packets, cents: manifest.budgetCents });
  return ledger.pin ? { id: ledger.pin.ledgerId.toString("hex"), ...totals } : null;
}
