/**
 * One journal a shard. The lock keeps a second process of this machine out; the owner record beside the seed
 * file names the one journal that may ever serve the shard, wherever the files are copied to; the ledger's pin
 * is the last line. A node that finds another owner, an owner but no journal, or a journal of other seeds refuses.
 */
import { hostname } from "node:os";
import { ID_BYTES } from "../../core/format/claim.ts";
import { HongbaoError } from "../../core/format/error.ts";
import { formatOwnerRecord, parseOwnerRecord } from "../../core/format/owner-record.ts";
import { tokenSerial } from "../../core/format/token.ts";
import type { EpochDir } from "../../core/store/campaign-dir.ts";
import { exists, publish, readSmallFile } from "../../core/store/durable.ts";
import { Journal } from "../../core/store/journal.ts";
import { type JournalReader, openJournalReader, segmentCount } from "../../core/store/journal-reader.ts";
import type { SeedReader } from "../../core/store/seed-reader.ts";
import { BlockFeed } from "./block-feed.ts";

/**
 * Makes sure that the journal in this node's directory is the shard's one and only.
 * @param seeds what the journal hands out
 * @param random gives a new journal its ID
 * @throws HongbaoError `owned_elsewhere`, `corrupt_journal`, `unreadable_file`
 */
export async function takeOwnership(
  epoch: EpochDir,
  shard: number,
  campaignTag: number,
  seeds: SeedReader,
  random: (bytes: number) => Buffer,
): Promise<void> {
  const dir = epoch.node(shard);
  const path = epoch.owner(shard);
  const owner = await readOwner(epoch, path);
  if ((await segmentCount(dir, epoch.disk)) === 0) {
    if (owner !== undefined) throw elsewhere(path, owner, `there is no journal in ${dir}`);
    // If we die behind this, the next start finds a journal without an owner, and claims the shard for it.
    const journalId = random(ID_BYTES);
    await Journal.create(dir, { campaignTag, epoch: epoch.epoch, shard, journalId }, epoch.disk);
  }
  const reader = await openJournalReader(dir, epoch.disk);
  const { identity } = reader;
  if (identity.campaignTag !== campaignTag || identity.epoch !== epoch.epoch || identity.shard !== shard)
    throw new HongbaoError(
      "owned_elsewhere",
      `the journal in ${dir} belongs to epoch ${identity.epoch}, shard ${identity.shard}, perhaps of another campaign: set DATA_DIR right`,
    );
  const journalId = identity.journalId.toString("hex");
  if (owner === undefined) {
    await checkHandOuts(reader, seeds, dir);
    await publishOwner(path, epoch, shard, journalId);
  } else if (owner !== journalId) throw elsewhere(path, owner, `the journal in ${dir} is ${journalId}`);
}

/** A journal that nobody has claimed these seeds for may be of others, minted under the same epoch before. */
async function checkHandOuts(reader: JournalReader, seeds: SeedReader, dir: string): Promise<void> {
  const feeds = seeds.layout.lanes.map((lane) => new BlockFeed(seeds, lane));
  try {
    for await (const { frame } of reader.entries()) {
      if (frame.type !== "issue") continue;
      const { lane, position, serial } = frame;
      const feed = position < (seeds.layout.lanes[lane]?.packets ?? 0) ? feeds[lane] : undefined;
      await feed?.load(position);
      const token = feed?.record(position);
      if (token !== undefined && tokenSerial(token) === serial) continue;
      throw new HongbaoError(
        "owned_elsewhere",
        `the journal in ${dir} tells of hand-outs from other seeds than these: this epoch was minted again; serve the first mint's seeds, or mint a new epoch`,
      );
    }
  } finally {
    await reader.close();
  }
}

/** @returns the journal that the owner record names, hex, or undefined without a record. */
async function readOwner(epoch: EpochDir, path: string): Promise<string | undefined> {
  if (!(await exists(path, epoch.disk))) return undefined;
  const bytes = await readSmallFile(path, "the owner record", 4096, epoch.disk);
  const record = parseOwnerRecord(bytes.toString("utf8"));
  if (record !== undefined) return record.journalId;
  throw new HongbaoError(
    "owned_elsewhere",
    `the owner record ${path} is damaged: find the shard's journal before anything else`,
  );
}

async function publishOwner(path: string, epoch: EpochDir, shard: number, journalId: string): Promise<void> {
  const record = { campaign: epoch.of.campaign, epoch: epoch.epoch, shard, journalId, host: hostname() };
  try {
    await publish(path, formatOwnerRecord(record), undefined, epoch.disk);
  } catch (cause) {
    if (!(cause instanceof HongbaoError) || cause.code !== "already_exists") throw cause;
    throw elsewhere(path, (await readOwner(epoch, path)) ?? "unknown", "another node was faster");
  }
}

function elsewhere(path: string, owner: string, here: string): HongbaoError {
  return new HongbaoError(
    "owned_elsewhere",
    `the shard is served from journal ${owner} (${path}), but ${here}: start the node with the DATA_DIR that holds that journal`,
  );
}
