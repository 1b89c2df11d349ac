/**
 * What a node was given to serve, verified: manifest, signatures under the keys of its own key file, every block
 * of its seed file, and that its key opens each lane's tokens. Nothing unverified is ever used.
 */
import { HongbaoError } from "../../core/format/error.ts";
import { type KeyFile, keyBytes } from "../../core/format/keyfile.ts";
import { type ShardKeys, shardKeys } from "../../core/format/keyring.ts";
import { type Manifest, type ManifestShard, shardScope } from "../../core/format/manifest.ts";
import { TOKEN_BYTES, tokenOpener } from "../../core/format/token.ts";
import { CampaignDir, type EpochDir, type Roots } from "../../core/store/campaign-dir.ts";
import { readMintKey } from "../../core/store/keystore.ts";
import { checkSignatures, readManifest } from "../../core/store/manifest-file.ts";
import { SeedReader } from "../../core/store/seed-reader.ts";

export interface VerifiedMint {
  readonly epochDir: EpochDir;
  readonly manifest: Manifest;
  readonly manifestShard: ManifestShard;
  readonly keyFile: KeyFile<"node">;
  readonly keys: ShardKeys;
  /** Open; its user closes it. */
  readonly seeds: SeedReader;
}

export interface MintToServe {
  readonly roots: Roots;
  readonly campaign: string;
  readonly shard: number;
  readonly epoch?: number | undefined;
  readonly openNow: boolean;
}

/** @throws HongbaoError with the reason why this mint is not served */
export async function verifyMint(wanted: MintToServe): Promise<VerifiedMint> {
  const epochDir = await new CampaignDir(wanted.roots, wanted.campaign).completeEpoch(wanted.epoch);
  const file = await readManifest(epochDir);
  const { manifest } = file;
  const manifestShard = manifest.shards[wanted.shard];
  if (manifestShard === undefined)
    throw new HongbaoError(
      "usage",
      `campaign ${manifest.campaign} has shards 0 to ${manifest.shards.length - 1}, not ${wanted.shard}`,
    );
  if (wanted.openNow && manifest.mode !== "test")
    throw new HongbaoError(
      "usage",
      "--open-now is for test campaigns only: push a signed show config instead",
    );
  const keyPath = epochDir.nodeKey(wanted.shard);
  const keyFile = await readMintKey("node", keyPath, manifest, epochDir.disk);
  const entry = keyFile.shards.find(({ shard }) => shard === wanted.shard);
  if (entry === undefined)
    throw new HongbaoError(
      "key_mismatch",
      `${keyPath} holds no key of shard ${wanted.shard}: install the key file that \`hongbao generate\` made for it`,
    );
  const keys = shardKeys(keyBytes(entry.key));
  await checkSignatures(epochDir, file, keyFile.publicKeys);
  const seeds = await SeedReader.open(epochDir.seed(wanted.shard), manifest, manifestShard, epochDir.disk);
  try {
    await verifySeeds(seeds, keys, manifest, manifestShard);
  } catch (error) {
    await seeds.close();
    throw error;
  }
  return { epochDir, manifest, manifestShard, keyFile, keys, seeds };
}

/** Reads every block once, and opens each lane's first token: the key fits the shard or nothing starts. */
async function verifySeeds(
  seeds: SeedReader,
  keys: ShardKeys,
  manifest: Manifest,
  shard: ManifestShard,
): Promise<void> {
  const open = tokenOpener(keys.token, shardScope(manifest, shard));
  for (const lane of seeds.layout.lanes) {
    for (let block = 0; block < lane.blocks; block++) {
      const bytes = await seeds.readBlock(lane, block);
      if (block === 0 && open(bytes.subarray(0, TOKEN_BYTES))?.ad !== lane.ad)
        throw new HongbaoError(
          "key_mismatch",
          `the node's key does not open the tokens of shard ${shard.shard}: install the right key file`,
        );
    }
  }
}
