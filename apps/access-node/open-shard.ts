/**
 * From files to a shard that may be served. Everything that can be wrong is found here, before the first
 * request: manifest, signatures, keys, every block of the seed file, journal. What a crash left leased and not
 * handed out is burned.
 */
import { HongbaoError } from "../../core/format/error.ts";
import type { Frame } from "../../core/format/frame.ts";
import { type KeyFile, keyBytes } from "../../core/format/keyfile.ts";
import { shardKeys } from "../../core/format/keyring.ts";
import { type Manifest, type ManifestShard, shardScope } from "../../core/format/manifest.ts";
import { openNowShow } from "../../core/format/show.ts";
import { campaignTag, TOKEN_BYTES, tokenOpener } from "../../core/format/token.ts";
import { CampaignDir, type EpochDir, type Roots } from "../../core/store/campaign-dir.ts";
import { Journal } from "../../core/store/journal.ts";
import { readKeyFile } from "../../core/store/keystore.ts";
import { type Lock, takeLock } from "../../core/store/lock.ts";
import { checkSignatures, readManifest } from "../../core/store/manifest-file.ts";
import { SeedReader } from "../../core/store/seed-reader.ts";
import { BlockFeed } from "./block-feed.ts";
import { Book } from "./book.ts";
import { Channel } from "./channel.ts";
import type { Dice } from "./dice.ts";
import { Leases } from "./leases.ts";
import { takeOwnership } from "./ownership.ts";
import { Programme } from "./programme.ts";
import type { Clock, Shard } from "./shard.ts";

export interface ShardOptions {
  readonly roots: Roots;
  readonly campaign: string;
  readonly shard: number;
  readonly epoch?: number | undefined;
  readonly openNow: boolean;
}

export interface OpenedShard {
  readonly shard: Shard;
  readonly epochDir: EpochDir;
  /** Packets burned by this start. */
  readonly burnedNow: number;
  /** Files and lock; the journal is closed by the node, as the last step of a clean stop. */
  release(): Promise<void>;
}

/**
 * @param onFailure the journal failed: the process must stop at once
 * @throws HongbaoError with the reason why this shard is not served
 */
export async function openShard(
  options: ShardOptions,
  world: { clock: Clock; dice: Dice; onFailure: (error: HongbaoError) => void },
): Promise<OpenedShard> {
  const epochDir = await new CampaignDir(options.roots, options.campaign).completeEpoch(options.epoch);
  const file = await readManifest(epochDir);
  const { manifest } = file;
  const inManifest = manifest.shards[options.shard];
  if (inManifest === undefined)
    throw new HongbaoError(
      "usage",
      `campaign ${manifest.campaign} has shards 0 to ${manifest.shards.length - 1}, not ${options.shard}`,
    );
  if (options.openNow && manifest.mode !== "test")
    throw new HongbaoError(
      "usage",
      "--open-now is for test campaigns only: push a signed show config instead",
    );
  const keyFile = await readKeyFile("node", epochDir.nodeKey(options.shard));
  const keys = keysOfShard(keyFile, manifest, options.shard, epochDir.nodeKey(options.shard));
  await checkSignatures(epochDir, file, keyFile.publicKeys);
  const seeds = await SeedReader.open(epochDir.seed(options.shard), manifest, inManifest);
  let lock: Lock | undefined;
  try {
    await verifySeeds(seeds, keys.token, manifest, inManifest);
    lock = await takeLock(
      `${epochDir.node(options.shard)}/lock`,
      `shard ${options.shard} of ${manifest.campaign}`,
    );
    await takeOwnership(epochDir, options.shard, campaignTag(manifest.campaign));
    const book = new Book(inManifest.lanes.map(({ packets }) => packets));
    const journal = await Journal.recover(epochDir.node(options.shard), (entry) => book.replay(entry), world);
    const append = (frame: Frame) => {
      const offset = journal.append(frame);
      book.apply(frame);
      return offset;
    };
    const burnedNow = await burnLeftovers(book, journal, append);
    const { feeds, channels } = openLanes(seeds, book, (frame) => journal.durable(append(frame)));
    const ads = manifest.ads.map(({ id }) => id);
    const fallback = options.openNow ? openNowShow(manifest.campaign, ads, manifest.expiresAt) : undefined;
    const programme = await Programme.open(
      epochDir.node(options.shard),
      manifest,
      keyFile.publicKeys.operator,
      fallback,
    );
    const shard: Shard = {
      manifest,
      identity: { epoch: manifest.epoch, shard: options.shard },
      scope: shardScope(manifest, inManifest),
      keys,
      quotaKey: keyBytes(keyFile.quotaKey),
      expiresAtMs: Date.parse(manifest.expiresAt),
      shareOfCampaign: inManifest.packets / manifest.packets,
      journal,
      book,
      feeds,
      channels,
      programme,
      clock: world.clock,
      dice: world.dice,
      append,
    };
    const held = lock;
    return {
      shard,
      epochDir,
      burnedNow,
      release: async () => {
        await seeds.close();
        held.release();
      },
    };
  } catch (error) {
    await seeds.close();
    lock?.release();
    throw error;
  }
}

function keysOfShard(file: KeyFile<"node">, manifest: Manifest, shard: number, path: string) {
  const planHash = keyBytes(file.planHash).toString("hex");
  if (
    file.campaign !== manifest.campaign ||
    file.mode !== manifest.mode ||
    file.epoch !== manifest.epoch ||
    planHash !== manifest.planHash
  )
    throw new HongbaoError(
      "key_mismatch",
      `${path} is for ${file.campaign} (${file.mode}) epoch ${file.epoch}, not for this mint of ${manifest.campaign} (${manifest.mode}) epoch ${manifest.epoch}: install the key file that \`hongbao generate\` made with it`,
    );
  const entry = file.shards.find((one) => one.shard === shard);
  if (entry === undefined)
    throw new HongbaoError(
      "key_mismatch",
      `${path} holds no key for shard ${shard}: install the node-${shard.toString().padStart(4, "0")}.key of this mint there`,
    );
  return shardKeys(keyBytes(entry.key));
}

/** Reads every block once, and opens each lane's first token: the key fits the shard or nothing starts. */
async function verifySeeds(
  seeds: SeedReader,
  tokenKey: Uint8Array,
  manifest: Manifest,
  shard: ManifestShard,
): Promise<void> {
  const open = tokenOpener(tokenKey, shardScope(manifest, shard));
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

/** @returns packets burned. Durable before this node may be ready. */
async function burnLeftovers(
  book: Book,
  journal: Journal,
  append: (frame: Frame) => number,
): Promise<number> {
  let burned = 0;
  for (const [lane, { cursor, leasedUpTo }] of book.lanes.entries()) {
    if (leasedUpTo <= cursor) continue;
    burned += leasedUpTo - cursor;
    append({ type: "burn", lane, from: cursor, to: leasedUpTo });
  }
  // If we die here, the burn is found again, or made again with the same bounds.
  if (burned > 0) await journal.durable(journal.appendedOffset);
  return burned;
}

function openLanes(seeds: SeedReader, book: Book, record: (frame: Frame) => Promise<void>) {
  const { lanes } = seeds.layout;
  const cursorOf = (lane: number) => book.lanes[lane]?.cursor ?? 0;
  const leases = new Leases(
    lanes.map(({ packets }, i) => ({ packets, cursor: cursorOf(i) })),
    record,
  );
  const feeds = lanes.map((lane) => new BlockFeed(seeds, lane));
  const channels = feeds.map((feed, i) => {
    const lane = lanes[i];
    if (lane === undefined) throw new RangeError("one feed a lane");
    return new Channel(i, lane, cursorOf(i), feed, leases);
  });
  return { feeds, channels };
}
