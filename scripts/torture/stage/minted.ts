/**
 * A campaign minted by the real generator into a directory of its own, for tests and experiments that serve it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CampaignDir, type EpochDir, type Roots } from "../../../core/store/campaign-dir.ts";
import { generate } from "../../../generator/generate.ts";

export interface Minted {
  readonly campaign: string;
  readonly roots: Roots;
  readonly epochDir: EpochDir;
  remove(): void;
}

const baseCampaign = {
  campaign: "gala-test",
  mode: "test",
  budgetCents: 40_000,
  packets: 200,
  shards: 2,
  split: { rule: "double-mean", minCents: 1, maxCents: 2000 },
  ads: [
    { id: 1, name: "Sponsor A", weight: 3 },
    { id: 2, name: "Sponsor B", weight: 1 },
  ],
  quota: { perUser: 3, perAd: 1 },
  expiresAt: "2099-01-01T00:00:00Z",
};

export async function mint(overrides: object = {}, operatorKeyFile?: string): Promise<Minted> {
  return await mintInto(mkdtempSync(join(tmpdir(), "hongbao-")), overrides, operatorKeyFile);
}

/** @param dir may hold keys of an earlier mint */
export async function mintInto(
  dir: string,
  overrides: object = {},
  operatorKeyFile?: string,
): Promise<Minted> {
  const roots = { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
  const campaign = { ...baseCampaign, ...overrides };
  await generate(
    {
      roots,
      campaignText: JSON.stringify(campaign),
      workers: 1,
      dryRun: false,
      resume: false,
      ...(operatorKeyFile !== undefined && { operatorKeyFile }),
    },
    { nowMs: Date.parse("2026-01-01T00:00:00Z"), progress: { update() {} } },
  );
  return {
    campaign: campaign.campaign,
    roots,
    epochDir: new CampaignDir(roots, campaign.campaign).epoch(1),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}
