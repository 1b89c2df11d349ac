/**
 * A shard's seed file: every sealed token of one access node, in lanes, one lane an ad.
 *
 *     0    magic     8   "hbseed\0\x01"
 *     8    campaign  4   campaign tag
 *     12   epoch     2
 *     14   shard     2
 *     16   packets   4
 *     20   lanes     2
 *     22   per block 2   records in a block (1024)
 *     24   lane table    per lane: ad u16 ‖ packets u32
 *     ..   hash table    per block: SHA-256 leaf hash, 32 bytes, lanes in order
 *     ..   records       45 bytes each, lane by lane; a lane begins a new block
 *
 * The shard's root is the Merkle root over leaf(header ‖ lane table), then the block hashes. Whoever holds the
 * manifest's root can trust the table after one pass over it, and each block as it is read.
 */
import { ByteReader, ByteWriter } from "./bytes.ts";
import { HongbaoError } from "./error.ts";
import { HASH_BYTES, leafHash, merkleRoot } from "./merkle.ts";
import { TOKEN_BYTES } from "./token.ts";

const MAGIC = Buffer.from("hbseed\0\x01", "latin1");
const FIXED_BYTES = 24;
const LANE_BYTES = 6;
export const BLOCK_RECORDS = 1024;
export const BLOCK_BYTES = BLOCK_RECORDS * TOKEN_BYTES;

export interface SeedLane {
  readonly ad: number;
  readonly packets: number;
}

export interface SeedHeader {
  readonly campaignTag: number;
  readonly epoch: number;
  readonly shard: number;
  readonly lanes: readonly SeedLane[];
}

/** Where a lane's records and block hashes lie. Offsets in bytes from the start of the file. */
export interface LaneLayout extends SeedLane {
  readonly recordsAt: number;
  /** Index of the lane's first block in the hash table. */
  readonly firstBlock: number;
  readonly blocks: number;
}

export interface SeedLayout {
  readonly headerBytes: number;
  readonly hashesAt: number;
  readonly recordsAt: number;
  readonly fileBytes: number;
  readonly blocks: number;
  readonly packets: number;
  readonly lanes: readonly LaneLayout[];
}

export function seedLayout(lanes: readonly SeedLane[]): SeedLayout {
  const headerBytes = FIXED_BYTES + lanes.length * LANE_BYTES;
  const blocks = lanes.reduce((sum, lane) => sum + Math.ceil(lane.packets / BLOCK_RECORDS), 0);
  const recordsAt = headerBytes + blocks * HASH_BYTES;
  let at = recordsAt;
  let firstBlock = 0;
  const placed = lanes.map((lane) => {
    const layout = { ...lane, recordsAt: at, firstBlock, blocks: Math.ceil(lane.packets / BLOCK_RECORDS) };
    at += lane.packets * TOKEN_BYTES;
    firstBlock += layout.blocks;
    return layout;
  });
  const packets = lanes.reduce((sum, lane) => sum + lane.packets, 0);
  return { headerBytes, hashesAt: headerBytes, recordsAt, fileBytes: at, blocks, packets, lanes: placed };
}

export function encodeSeedHeader(header: SeedHeader): Buffer {
  const packets = header.lanes.reduce((sum, lane) => sum + lane.packets, 0);
  const bytes = new ByteWriter(FIXED_BYTES + header.lanes.length * LANE_BYTES)
    .bytes(MAGIC)
    .u32(header.campaignTag)
    .u16(header.epoch)
    .u16(header.shard)
    .u32(packets)
    .u16(header.lanes.length)
    .u16(BLOCK_RECORDS);
  for (const lane of header.lanes) bytes.u16(lane.ad).u32(lane.packets);
  return bytes.done();
}

/** @throws HongbaoError `invalid_seed_file` for bytes that are not the header that `expected` encodes to. */
export function checkSeedHeader(bytes: Uint8Array, expected: SeedHeader, name: string): void {
  if (!MAGIC.equals(bytes.subarray(0, MAGIC.length)))
    throw new HongbaoError(
      "invalid_seed_file",
      `${name} is not a seed file of this version: fetch the shard again`,
    );
  if (encodeSeedHeader(expected).equals(bytes)) return;
  const reader = new ByteReader(bytes.subarray(MAGIC.length));
  const tag = reader.u32();
  const [epoch, shard] = [reader.u16(), reader.u16()];
  throw new HongbaoError(
    "invalid_seed_file",
    tag === expected.campaignTag && epoch === expected.epoch && shard === expected.shard
      ? `${name} does not have the lanes of the manifest: fetch the shard again`
      : `${name} belongs to ${tag === expected.campaignTag ? "" : "another campaign, "}epoch ${epoch}, shard ${shard}, not to epoch ${expected.epoch}, shard ${expected.shard}: fetch the right one`,
  );
}

/** @param blockHashes leaf hashes of all blocks, in file order */
export function seedRoot(header: Uint8Array, blockHashes: readonly Uint8Array[]): Buffer {
  return merkleRoot([leafHash(header), ...blockHashes]);
}
