/**
 * From files to a shard that may be served: verify the mint, lock and own the shard, recover its journal, burn
 * what a crash left leased. Everything that can be wrong is found here, before the first request.
 */
import { BrokenInvariant, HongbaoError } from "../../core/format/error.ts";
import type { Frame } from "../../core/format/frame.ts";
import { keyBytes } from "../../core/format/keyfile.ts";
import { shardScope } from "../../core/format/manifest.ts";
import { openNowShow } from "../../core/format/show.ts";
import { campaignTag } from "../../core/format/token.ts";
import type { EpochDir, Roots } from "../../core/store/campaign-dir.ts";
import type { Disk } from "../../core/store/disk.ts";
import { syncDirectory } from "../../core/store/durable.ts";
import { Journal } from "../../core/store/journal.ts";
import { takeLock } from "../../core/store/lock.ts";
import type { SeedReader } from "../../core/store/seed-reader.ts";
import { BlockFeed } from "./block-feed.ts";
import { Book } from "./book.ts";
import { Channel } from "./channel.ts";
import type { Clock } from "./clock.ts";
import type { Dice } from "./dice.ts";
import { Leases } from "./leases.ts";
import { takeOwnership } from "./ownership.ts";
import { Programme } from "./programme.ts";
import type { Shard } from "./shard.ts";
import { Unvouched } from "./unvouched.ts";
import { type VerifiedMint, verifyMint } from "./verified-mint.ts";

export interface ShardOptions {
  readonly roots: Roots;
  readonly campaign: string;
  readonly shard: number;
  readonly epoch?: number | undefined;
  readonly openNow: boolean;
}

export interface ShardWorld {
  readonly clock: Clock;
  readonly dice: Dice;
  /** Random bytes, for names. */
  readonly random: (bytes: number) => Buffer;
  /** The journal begins a new segment behind this many bytes; its own limit if not given. */
  readonly segmentBytes?: number;
  /** The journal failed: the process must stop at once. */
  readonly onFailure: (error: HongbaoError) => void;
}

export interface OpenedShard {
  readonly shard: Shard;
  readonly epochDir: EpochDir;
  /** Packets burned by this start. */
  readonly burnedNow: number;
  /** Where the journal ended, until a ledger has vouched for it. */
  readonly unvouched: Unvouched;
  /** Files and lock; see `closeShard`. */
  release(): Promise<void>;
}

/** @throws HongbaoError with the reason why this shard is not served */
export async function openShard(options: ShardOptions, world: ShardWorld): Promise<OpenedShard> {
  const mint = await verifyMint(options);
  const { manifest, epochDir, seeds } = mint;
  const dir = epochDir.node(options.shard);
  const what = `shard ${options.shard} of ${manifest.campaign}`;
  const lock = await takeLock(`${dir}/lock`, what, undefined, epochDir.disk).catch(async (error) => {
    await seeds.close();
    throw error;
  });
  const release = async () => {
    await seeds.close();
    lock.release();
  };
  try {
    // A process that was killed may have left names here (a segment, a show config) that only the page cache holds.
    await syncDirectory(dir, epochDir.disk);
    await takeOwnership(epochDir, options.shard, campaignTag(manifest.campaign), seeds, world.random);
    return { ...(await assemble(options, mint, world)), epochDir, release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** The end of a clean stop, when nobody asks any more: leases returned, journal synced, files and lock released. */
export async function closeShard({ shard, release }: OpenedShard): Promise<void> {
  shard.append({ type: "return", cursors: shard.channels.map((channel) => channel.position) });
  // If we die before this is on the disk, the next start burns what was leased: bounded, and listed.
  await shard.journal.close();
  await release();
}

async function assemble(
  options: ShardOptions,
  mint: VerifiedMint,
  world: ShardWorld,
): Promise<Pick<OpenedShard, "shard" | "burnedNow" | "unvouched">> {
  const { manifest, manifestShard, epochDir, keyFile, keys, seeds } = mint;
  const dir = epochDir.node(options.shard);
  const ads = manifest.ads.map(({ id }) => id);
  const fallback = options.openNow ? openNowShow(manifest.campaign, ads, manifest.expiresAt) : undefined;
  const { operator } = keyFile.publicKeys;
  const programme = await Programme.open(dir, manifest, operator, fallback, epochDir.disk);
  const { book, journal } = await recover(epochDir.disk, dir, manifestShard.lanes, world);
  const unvouched = await Unvouched.since(dir, journal.appendedOffset, epochDir.disk);
  const append = (frame: Frame) => {
    // The book first: what it does not accept must never reach the disk. And nothing once the journal has failed:
    // what the book holds is answered for.
    journal.assertWhole();
    book.apply(frame, journal.appendedOffset);
    return journal.append(frame);
  };
  const burnedNow = await burnLeftovers(book, journal, append);
  const { feeds, channels } = openLanes(seeds, book, (frame) => journal.durable(append(frame)));
  const shard: Shard = {
    manifest,
    identity: { epoch: manifest.epoch, shard: options.shard },
    scope: shardScope(manifest, manifestShard),
    keys,
    quotaKey: keyBytes(keyFile.quotaKey),
    expiresAtMs: Date.parse(manifest.expiresAt),
    shareOfCampaign: manifestShard.packets / manifest.packets,
    journal,
    book,
    feeds,
    channels,
    programme,
    clock: world.clock,
    dice: world.dice,
    append,
  };
  return { shard, burnedNow, unvouched };
}

/** @throws HongbaoError `corrupt_journal`, also for frames that are whole but cannot follow each other */
async function recover(
  disk: Disk,
  dir: string,
  lanes: readonly { packets: number }[],
  world: ShardWorld,
): Promise<{ book: Book; journal: Journal }> {
  const book = new Book(lanes.map(({ packets }) => packets));
  const replay = (entry: { frame: Frame; offset: number }) => {
    try {
      book.apply(entry.frame, entry.offset);
    } catch (cause) {
      if (!(cause instanceof BrokenInvariant)) throw cause;
      const what = `the journal in ${dir} contradicts itself at offset ${entry.offset} (${cause.message})`;
      throw new HongbaoError("corrupt_journal", `${what}: restore it from a copy`, { cause });
    }
  };
  const { onFailure, segmentBytes } = world;
  return { book, journal: await Journal.recover(dir, replay, { onFailure, segmentBytes, disk }) };
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
  const cursors = book.lanes.map(({ cursor }) => cursor);
  const leases = new Leases(
    lanes.map(({ packets }, i) => ({ packets, cursor: cursors[i] ?? 0 })),
    record,
  );
  const feeds = lanes.map((lane) => new BlockFeed(seeds, lane));
  const channels = lanes.map((lane, i) => {
    const feed = feeds[i] ?? new BlockFeed(seeds, lane);
    return new Channel(i, lane, cursors[i] ?? 0, feed, leases);
  });
  return { feeds, channels };
}
