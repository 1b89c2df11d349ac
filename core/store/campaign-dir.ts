/**
 * Where a campaign's files lie, and nothing else: seeds, keys and data, by epoch and shard. Epochs are found by
 * their manifests, because a manifest is written last: an epoch without one is not complete.
 */
import { join } from "node:path";
import { CAMPAIGN_ID } from "../format/campaign.ts";
import { HongbaoError, systemCode } from "../format/error.ts";
import type { Role } from "../format/signature.ts";
import { type Disk, machineDisk } from "./disk.ts";
import { exists } from "./durable.ts";

/** The three roots, from flags and environment, and the disk that they are on: the machine's if none is named. */
export interface Roots {
  readonly seedsDir: string;
  readonly keysDir: string;
  readonly dataDir: string;
  readonly disk?: Disk;
}

export class CampaignDir {
  readonly campaign: string;
  readonly disk: Disk;
  private readonly roots: Roots;

  /** @throws HongbaoError `usage` for what is no campaign's name, and would be a path to elsewhere */
  constructor(roots: Roots, campaign: string) {
    if (!CAMPAIGN_ID.test(campaign))
      throw new HongbaoError(
        "usage",
        `"${campaign}" is no campaign's name, which is 1 to 63 lower-case letters, digits and dashes`,
      );
    this.roots = roots;
    this.disk = roots.disk ?? machineDisk;
    this.campaign = campaign;
  }

  get seedsDir(): string {
    return join(this.roots.seedsDir, this.campaign);
  }

  get keysDir(): string {
    return join(this.roots.keysDir, this.campaign);
  }

  get dataDir(): string {
    return join(this.roots.dataDir, this.campaign);
  }

  get masterKey(): string {
    return join(this.keysDir, "master.key");
  }

  get operatorKey(): string {
    return join(this.keysDir, "operator.key");
  }

  get ledger(): string {
    return join(this.dataDir, "ledger.db");
  }

  /** The operator's own record of the last show config that was pushed. */
  get operatorShow(): string {
    return join(this.dataDir, "show.json");
  }

  epoch(epoch: number): EpochDir {
    return new EpochDir(this, epoch);
  }

  /** Every epoch with a directory of its own, ascending; also those that were never finished. */
  async startedEpochs(): Promise<number[]> {
    let names: string[];
    try {
      names = await this.disk.list(this.seedsDir);
    } catch (error) {
      if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return [];
      throw error;
    }
    const epochs = names.flatMap((name) => {
      const match = /^e([1-9]\d{0,4})$/.exec(name);
      return match ? [Number(match[1])] : [];
    });
    return epochs.sort((a, b) => a - b);
  }

  /**
   * @param wanted the epoch asked for; without it the highest complete one
   * @throws HongbaoError `missing_file` if there is none
   */
  async completeEpoch(wanted?: number): Promise<EpochDir> {
    const started = wanted === undefined ? (await this.startedEpochs()).reverse() : [wanted];
    for (const epoch of started)
      if (await exists(this.epoch(epoch).manifest, this.disk)) return this.epoch(epoch);
    const which = wanted === undefined ? "no complete epoch" : `no complete epoch ${wanted}`;
    throw new HongbaoError(
      "missing_file",
      `campaign ${this.campaign} has ${which} under ${this.seedsDir}: run \`hongbao generate\` first, or set SEEDS_DIR`,
    );
  }
}

export class EpochDir {
  readonly of: CampaignDir;
  readonly epoch: number;

  constructor(of: CampaignDir, epoch: number) {
    this.of = of;
    this.epoch = epoch;
  }

  get disk(): Disk {
    return this.of.disk;
  }

  get seedsDir(): string {
    return join(this.of.seedsDir, `e${this.epoch}`);
  }

  get keysDir(): string {
    return join(this.of.keysDir, `e${this.epoch}`);
  }

  get dataDir(): string {
    return join(this.of.dataDir, `e${this.epoch}`);
  }

  get manifest(): string {
    return join(this.seedsDir, "manifest.json");
  }

  signature(role: Role): string {
    return join(this.seedsDir, `manifest.${role}.sig`);
  }

  seed(shard: number): string {
    return join(this.seedsDir, `shard-${four(shard)}.seed`);
  }

  owner(shard: number): string {
    return join(this.seedsDir, `shard-${four(shard)}.owner`);
  }

  get settlementKey(): string {
    return join(this.keysDir, "settlement.key");
  }

  nodeKey(shard: number): string {
    return join(this.keysDir, `node-${four(shard)}.key`);
  }

  /** A node's own directory: journal, lock and show config. */
  node(shard: number): string {
    return join(this.dataDir, `node-${four(shard)}`);
  }
}

function four(shard: number): string {
  return shard.toString().padStart(4, "0");
}
