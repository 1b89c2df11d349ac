/**
 * Accounts for one shard: its seeds say what there is, its journal what happened, the ledger what was paid. The
 * ledger's snapshot is older than the journal's reading, see `ledger-snapshot.ts`.
 *
 * What comes out is one row of states a lane, and findings; the packets themselves are forgotten again.
 */
import type { KeyFile } from "../../core/format/keyfile.ts";
import { keyBytes } from "../../core/format/keyfile.ts";
import { type ManifestShard, shardScope } from "../../core/format/manifest.ts";
import { formatCents } from "../../core/format/money.ts";
import type { EpochDir } from "../../core/store/campaign-dir.ts";
import type { ManifestFile } from "../../core/store/manifest-file.ts";
import type { Findings } from "./findings.ts";
import { holderHash } from "./holder.ts";
import { chooseJournal, type Expected, type FoundJournal } from "./journal-finder.ts";
import { type Replayed, replayJournal } from "./journal-replay.ts";
import { type JournalGap, LedgerEntries } from "./ledger-entries.ts";
import type { LedgerSnapshot } from "./ledger-snapshot.ts";
import type { RefusedClaims } from "./refused-claims.ts";
import { readSeeds } from "./seeds.ts";
import { ShardBooks, type StateSums } from "./shard-books.ts";
import { ShardOpener } from "./shard-opener.ts";

/** What all shards of a reconciliation share. */
export interface Sources {
  readonly epoch: EpochDir;
  readonly file: ManifestFile;
  readonly keys: KeyFile<"settlement">;
  readonly owners: readonly Expected["owner"][];
  readonly journals: ReadonlyMap<number, readonly FoundJournal[]>;
  readonly ledger: LedgerSnapshot;
  readonly refused: RefusedClaims;
  readonly findings: Findings;
}

const LOST = "not in the ledger: unless the show runs, it lost this; run `hongbao credit --replay`";

export interface ShardAccount {
  /** One row a lane. */
  readonly lanes: readonly StateSums[];
  /** The journal that was read, hex. */
  readonly journalId: string | undefined;
  readonly acknowledged: boolean;
}

export async function accountShard(shard: ManifestShard, sources: Sources): Promise<ShardAccount> {
  const { epoch, file, findings, keys, ledger, owners, refused } = sources;
  const books = new ShardBooks(epoch.epoch, shard.shard, shard.lanes);
  const opener = new ShardOpener(keys, shardScope(file.manifest, shard));
  const holder = holderHash(keyBytes(keys.settlementKey));
  await readSeeds(epoch.seed(shard.shard), { manifest: file.manifest, shard }, opener, books, findings);

  const { journal, isExpected } = await chooseJournal(
    shard.shard,
    sources.journals.get(shard.shard) ?? [],
    {
      pinned: ledger.pins.get(shard.shard)?.toString("hex"),
      owner: owners[shard.shard] ?? "none",
    },
    findings,
  );
  const replayed =
    journal && (await replayJournal(journal.dir, { books, opener, holder, refused, findings }));

  const entries = new LedgerEntries(books, findings, holder, gapOf(isExpected, replayed));
  for (const row of ledger.credits.of(epoch.epoch, shard.shard)) entries.credit(row);
  for (const row of ledger.rejections.of(epoch.epoch, shard.shard)) entries.rejection(row);
  for (const fault of ledger.postingFaults.of(epoch.epoch, shard.shard)) entries.posting(fault);
  entries.close();
  reportUnfinished(books, acknowledgedIn(ledger, replayed), findings);
  return {
    lanes: books.sums(),
    journalId: journal?.id,
    acknowledged: replayed?.acknowledged !== undefined,
  };
}

function gapOf(isExpected: boolean, replayed: Replayed | undefined): JournalGap | undefined {
  if (!isExpected) return "missing-journal";
  return replayed?.whole === false ? "corrupt" : undefined;
}

/** @returns the journal offset up to which this very ledger has told the node that its claims are settled. */
function acknowledgedIn(ledger: LedgerSnapshot, replayed: Replayed | undefined): number {
  const last = replayed?.acknowledged;
  return last && ledger.pin?.ledgerId.equals(last.ledgerId) ? last.upTo : 0;
}

/**
 * Packets on their way: handed out and not opened, opened and not credited. An opened one that the ledger has
 * acknowledged and does not hold is either settled since the snapshot, or the ledger has lost it (an old copy
 * was restored): its node will not send it again.
 */
function reportUnfinished(books: ShardBooks, acknowledged: number, findings: Findings): void {
  const { epoch, shard } = books;
  for (let place = 0; place < books.packets; place++) {
    const state = books.stateOf(place);
    if (state !== "issued" && state !== "opened") continue;
    const packet = { epoch, shard, serial: books.serialOf(place) };
    const amount = formatCents(books.centsOf(place));
    if (state === "issued") findings.add("issued-unopened", packet, `${amount} handed out, not opened`);
    else if (books.isClaimedBefore(place, acknowledged))
      findings.add("opened-uncredited", packet, `${amount} opened and acknowledged, but ${LOST}`);
    else findings.add("opened-uncredited", packet, `${amount} opened, not yet in the ledger`);
  }
}
