/**
 * What crediting stands on, opened and held against each other before the first claim: the signed manifest,
 * the settlement key of the same mint, and the ledger pinned to that manifest.
 */
import type { Manifest } from "../../core/format/manifest.ts";
import { CampaignDir, type Roots } from "../../core/store/campaign-dir.ts";
import { readMintKey } from "../../core/store/keystore.ts";
import { type Ledger, openLedger } from "../../core/store/ledger.ts";
import { parseLedgerAddress } from "../../core/store/ledger-address.ts";
import { checkSignatures, readManifest } from "../../core/store/manifest-file.ts";
import { ClaimChecker } from "./claim-checker.ts";
import type { Clock } from "./clock.ts";
import { whileLocked } from "./patience.ts";

export interface BooksOptions {
  readonly roots: Roots;
  readonly campaign: string;
  /** The highest complete one, if not given. */
  readonly epoch?: number | undefined;
  /** The value of LEDGER_URL. */
  readonly ledgerUrl?: string | undefined;
}

export interface Books {
  readonly manifest: Manifest;
  readonly checker: ClaimChecker;
  readonly ledger: Ledger;
}

/** A ledger that stays locked for this long at the start is worth an error, not patience. */
const OPEN_WAIT_MS_MAX = 10_000;

/**
 * @throws HongbaoError for everything that is missing, unsigned, of another mint, or not a ledger
 */
export async function openBooks(options: BooksOptions, clock: Clock): Promise<Books> {
  const campaign = new CampaignDir(options.roots, options.campaign);
  const address = parseLedgerAddress(options.ledgerUrl, campaign.ledger);
  const epoch = await campaign.completeEpoch(options.epoch);
  const file = await readManifest(epoch);
  const settlement = await readMintKey("settlement", epoch.settlementKey, file.manifest, epoch.disk);
  await checkSignatures(epoch, file, settlement.publicKeys);
  const ledger = await whileLocked(() => openLedger(address, file), clock, { waitMsMax: OPEN_WAIT_MS_MAX });
  return { manifest: file.manifest, checker: new ClaimChecker(file.manifest, settlement), ledger };
}
