/**
 * What can be taken from a node's machine: its seed file's records and what its key file holds. A thief reads them as
 * the node does, and from then on has everything that the node has.
 */
import { keyBytes } from "../../../core/format/keyfile.ts";
import { type ShardKeys, shardKeys } from "../../../core/format/keyring.ts";
import { shardScope } from "../../../core/format/manifest.ts";
import { TOKEN_BYTES, type TokenScope } from "../../../core/format/token.ts";
import type { EpochDir } from "../../../core/store/campaign-dir.ts";
import { readMintKey } from "../../../core/store/keystore.ts";
import { type ManifestFile, readManifest } from "../../../core/store/manifest-file.ts";
import { SeedReader } from "../../../core/store/seed-reader.ts";

/** What the machine of a node knows of one shard. */
export interface NodeLoot {
  readonly file: ManifestFile;
  readonly scope: TokenScope;
  readonly keys: ShardKeys;
  readonly quotaKey: Uint8Array;
}

export async function lootNode(epoch: EpochDir, shard: number): Promise<NodeLoot> {
  const file = await readManifest(epoch);
  const place = file.manifest.shards[shard];
  if (place === undefined) throw new Error(`there is no shard ${shard}`);
  const keyFile = await readMintKey("node", epoch.nodeKey(shard), file.manifest);
  const key = keyFile.shards.find((entry) => entry.shard === shard)?.key;
  if (key === undefined) throw new Error(`the node has no key of shard ${shard}`);
  return {
    file,
    scope: shardScope(file.manifest, place),
    keys: shardKeys(keyBytes(key)),
    quotaKey: keyBytes(keyFile.quotaKey),
  };
}

/** Every sealed token of a shard, in the order of the file. */
export async function lootSeeds(epoch: EpochDir, shard: number): Promise<Buffer[]> {
  const { manifest } = await readManifest(epoch);
  const place = manifest.shards[shard];
  if (place === undefined) throw new Error(`there is no shard ${shard}`);
  const reader = await SeedReader.open(epoch.seed(shard), manifest, place);
  try {
    const records: Buffer[] = [];
    for (const lane of reader.layout.lanes)
      for (let block = 0; block < lane.blocks; block++) {
        const bytes = await reader.readBlock(lane, block);
        for (let at = 0; at < bytes.length; at += TOKEN_BYTES)
          records.push(bytes.subarray(at, at + TOKEN_BYTES));
      }
    return records;
  } finally {
    await reader.close();
  }
}
