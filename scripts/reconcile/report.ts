/**
 * The report: the contract's JSON, made of nothing but the inputs (no clock, no host, canonical order), so that
 * two people who reconcile the same files hold the same bytes.
 */
import type { Mode } from "../../core/format/campaign.ts";
import type { Manifest } from "../../core/format/manifest.ts";
import type { Finding, FindingClass, Findings } from "./findings.ts";
import { type Amount, addSums, noSums, type StateSums, totalOf } from "./shard-books.ts";

interface ShardRow extends StateSums {
  readonly shard: number;
  readonly budget: Amount;
  /** The journal that was read, hex; null if the shard has none. */
  readonly journal: string | null;
}

interface AdRow extends StateSums {
  readonly ad: number;
  readonly name: string;
  readonly budget: Amount;
}

export interface LedgerTotals {
  /** 16 bytes, hex */
  readonly id: string;
  readonly debitCents: number;
  readonly creditCents: number;
}

/** What `--audit` looked at beyond the books; absent without it. */
export interface AuditNotes {
  readonly checked: readonly string[];
  readonly skipped: readonly string[];
}

export interface ReconcileReport extends StateSums {
  readonly campaign: string;
  readonly epoch: number;
  readonly mode: Mode;
  readonly balanced: boolean;
  readonly budget: Amount;
  readonly byShard: readonly ShardRow[];
  readonly byAd: readonly AdRow[];
  /** null while nothing was credited and no ledger exists. */
  readonly ledger: LedgerTotals | null;
  /** How many findings of each class there are; at most 10,000 of each are listed. */
  readonly counts: Partial<Record<FindingClass, number>>;
  readonly findings: readonly Finding[];
  readonly audit?: AuditNotes;
}

export interface ShardResult {
  readonly lanes: readonly StateSums[];
  readonly journalId: string | undefined;
}

export function makeReport(
  manifest: Manifest,
  shards: readonly ShardResult[],
  ledger: LedgerTotals | null,
  findings: Findings,
  audit: AuditNotes | undefined,
): ReconcileReport {
  const total = noSums();
  const ads = new Map(manifest.ads.map(({ id }) => [id, noSums()]));
  const byShard = manifest.shards.map(({ shard, packets, cents, lanes }) => {
    const sums = noSums();
    for (const [lane, { ad }] of lanes.entries()) {
      const row = shards[shard]?.lanes[lane] ?? noSums();
      addSums(sums, row);
      addSums(ads.get(ad) ?? noSums(), row);
    }
    addSums(total, sums);
    return { shard, journal: shards[shard]?.journalId ?? null, budget: { packets, cents }, ...sums };
  });
  const byAd = manifest.ads.map(({ id, name, packets, cents }) => ({
    ad: id,
    name,
    budget: { packets, cents },
    ...(ads.get(id) ?? noSums()),
  }));
  const budget = { packets: manifest.packets, cents: manifest.budgetCents };
  const exact = [{ budget, ...total }, ...byShard, ...byAd].every((row) => equal(totalOf(row), row.budget));
  return {
    campaign: manifest.campaign,
    epoch: manifest.epoch,
    mode: manifest.mode,
    balanced: exact && findings.unbalancing === 0,
    budget,
    ...total,
    byShard,
    byAd,
    ledger,
    counts: findings.counts,
    findings: findings.list,
    ...(audit && { audit }),
  };
}

function equal(a: Amount, b: Amount): boolean {
  return a.packets === b.packets && a.cents === b.cents;
}
