/**
 * Reads a shard's seed file block by block, each block held against the manifest's Merkle root: nothing that
 * was changed, cut or swapped after the mint ever becomes a record. Memory: the hash table, 32 bytes a block.
 */
import { HongbaoError } from "../format/error.ts";
import { type Manifest, type ManifestShard, shardHeader } from "../format/manifest.ts";
import { HASH_BYTES, leafHash } from "../format/merkle.ts";
import {
  BLOCK_BYTES,
  BLOCK_RECORDS,
  checkSeedHeader,
  type LaneLayout,
  type SeedLayout,
  seedLayout,
  seedRoot,
} from "../format/seedfile.ts";
import { TOKEN_BYTES } from "../format/token.ts";
import { type Disk, type DiskFile, machineDisk } from "./disk.ts";
import { fileProblem } from "./durable.ts";

export class SeedReader {
  readonly layout: SeedLayout;
  private readonly path: string;
  private readonly handle: DiskFile;
  private readonly hashes: Buffer;

  private constructor(path: string, handle: DiskFile, layout: SeedLayout, hashes: Buffer) {
    this.path = path;
    this.handle = handle;
    this.layout = layout;
    this.hashes = hashes;
  }

  /**
   * Opens the file and checks size, header and hash table against the manifest.
   * @throws HongbaoError `missing_file`, `unreadable_file`, `invalid_seed_file`
   */
  static async open(
    path: string,
    manifest: Manifest,
    shard: ManifestShard,
    disk: Disk = machineDisk,
  ): Promise<SeedReader> {
    const layout = seedLayout(shard.lanes);
    const handle = await disk.open(path, "r").catch((cause) => {
      throw fileProblem(cause, path, "the seed file");
    });
    try {
      const { size } = await handle.stat();
      if (size !== layout.fileBytes)
        throw new HongbaoError(
          "invalid_seed_file",
          `${path} has ${size} bytes, the manifest says ${layout.fileBytes}: fetch the shard again`,
        );
      const head = await readExactly(handle, path, 0, layout.recordsAt);
      checkSeedHeader(head.subarray(0, layout.headerBytes), shardHeader(manifest, shard), path);
      const hashes = head.subarray(layout.hashesAt);
      const leaves = Array.from({ length: layout.blocks }, (_, i) =>
        hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
      );
      if (seedRoot(head.subarray(0, layout.headerBytes), leaves).toString("hex") !== shard.root)
        throw new HongbaoError(
          "invalid_seed_file",
          `${path} is damaged: its hashes do not build the manifest's root; fetch the shard again`,
        );
      return new SeedReader(path, handle, layout, hashes);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The lane's `block`-th block: up to 1024 records of 45 bytes. @throws HongbaoError `invalid_seed_file` */
  async readBlock(lane: LaneLayout, block: number): Promise<Buffer> {
    const records = Math.min(BLOCK_RECORDS, lane.packets - block * BLOCK_RECORDS);
    const at = lane.recordsAt + block * BLOCK_BYTES;
    const bytes = await readExactly(this.handle, this.path, at, records * TOKEN_BYTES);
    const hashAt = (lane.firstBlock + block) * HASH_BYTES;
    if (!leafHash(bytes).equals(this.hashes.subarray(hashAt, hashAt + HASH_BYTES)))
      throw new HongbaoError(
        "invalid_seed_file",
        `${this.path} is damaged in block ${block} of ad ${lane.ad} (byte ${at}): fetch the shard again`,
      );
    return bytes;
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

async function readExactly(handle: DiskFile, path: string, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, length - done, at + done).catch((cause) => {
      throw fileProblem(cause, path, "the seed file");
    });
    if (bytesRead === 0)
      throw new HongbaoError("invalid_seed_file", `${path} ends at byte ${at + done}: fetch the shard again`);
    done += bytesRead;
  }
  return bytes;
}
