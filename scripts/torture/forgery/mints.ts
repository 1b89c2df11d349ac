/**
 * Mints of several campaigns and epochs in one directory, by the real generator and, if asked for, under a master key
 * that is known: then the mint is the same bytes on every run.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keyText } from "../../../core/format/keyfile.ts";
import { CampaignDir, type Roots } from "../../../core/store/campaign-dir.ts";
import { createKeyFile } from "../../../core/store/keystore.ts";
import { generate } from "../../../generator/generate.ts";
import type { Minted } from "../stage/minted.ts";

const NOW_MS = Date.parse("2026-01-01T00:00:00Z");

const baseCampaign = {
  campaign: "gala",
  mode: "test",
  budgetCents: 400_000,
  packets: 2_000,
  shards: 2,
  split: { rule: "double-mean", minCents: 1, maxCents: 20_000 },
  ads: [
    { id: 1, name: "Sponsor A", weight: 3 },
    { id: 2, name: "Sponsor B", weight: 1 },
  ],
  quota: { perUser: 3, perAd: 2 },
  expiresAt: "2099-01-01T00:00:00Z",
};

export class MintsDir {
  readonly dir = mkdtempSync(join(tmpdir(), "hongbao-forgery-"));
  readonly roots: Roots = {
    seedsDir: join(this.dir, "seeds"),
    keysDir: join(this.dir, "keys"),
    dataDir: join(this.dir, "data"),
  };

  /** Mints the next epoch of a campaign. @param master 32 bytes, only in front of a campaign's first epoch */
  async mint(overrides: Partial<typeof baseCampaign> = {}, master?: Uint8Array): Promise<Minted> {
    const campaign = { ...baseCampaign, ...overrides };
    const of = new CampaignDir(this.roots, campaign.campaign);
    if (master !== undefined)
      await createKeyFile<"master">(of.masterKey, {
        format: "hongbao.master-key.v1",
        campaign: campaign.campaign,
        mode: "test",
        master: keyText(master),
      });
    const { epoch } = await generate(
      {
        roots: this.roots,
        campaignText: JSON.stringify(campaign),
        workers: 1,
        dryRun: false,
        resume: false,
      },
      { nowMs: NOW_MS, progress: { update() {} } },
    );
    return {
      campaign: campaign.campaign,
      roots: this.roots,
      epochDir: of.epoch(epoch),
      remove: () => this.remove(),
    };
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
