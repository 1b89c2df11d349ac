/**
 * Where the checker finds what it reads. Paths only: how they come about is the business of whoever serves the
 * campaign, and none of the programs' own readers is used on them.
 */
export interface CampaignFiles {
  readonly manifest: string;
  readonly settlementKey: string;
  readonly ledger: string;
  seed(shard: number): string;
  /** The directory of a shard's journal. */
  journal(shard: number): string;
}
