/**
 * Records of one lane, streamed ahead of its cursor: the block in use and the one after it are in memory, so
 * that memory does not grow with the shard and a take never waits for the disk while the disk keeps up.
 */
import { invariant } from "../../core/format/error.ts";
import { BLOCK_RECORDS, type LaneLayout } from "../../core/format/seedfile.ts";
import { TOKEN_BYTES } from "../../core/format/token.ts";
import type { SeedReader } from "../../core/store/seed-reader.ts";

export class BlockFeed {
  private readonly seeds: SeedReader;
  private readonly lane: LaneLayout;
  private readonly blocks = new Map<number, Buffer>();
  private readonly loading = new Map<number, Promise<void>>();

  constructor(seeds: SeedReader, lane: LaneLayout) {
    this.seeds = seeds;
    this.lane = lane;
  }

  /** @returns the record at `position`, or undefined while its block is not in memory (see `load`). */
  record(position: number): Uint8Array | undefined {
    const block = Math.floor(position / BLOCK_RECORDS);
    const bytes = this.blocks.get(block);
    if (bytes === undefined) return undefined;
    if (position % BLOCK_RECORDS === 0) this.moveOn(block);
    const at = (position % BLOCK_RECORDS) * TOKEN_BYTES;
    return bytes.subarray(at, at + TOKEN_BYTES);
  }

  /** Resolves when the block of `position` is in memory. @throws HongbaoError `invalid_seed_file` if it is damaged */
  load(position: number): Promise<void> {
    invariant(position < this.lane.packets, "a position lies in its lane");
    return this.loadBlock(Math.floor(position / BLOCK_RECORDS));
  }

  /** A record anywhere in the lane, for an answer that is given again. */
  async reread(position: number): Promise<Uint8Array> {
    const known = this.blocks.get(Math.floor(position / BLOCK_RECORDS));
    const bytes = known ?? (await this.seeds.readBlock(this.lane, Math.floor(position / BLOCK_RECORDS)));
    const at = (position % BLOCK_RECORDS) * TOKEN_BYTES;
    return bytes.subarray(at, at + TOKEN_BYTES);
  }

  /** `block` has come into use: what lies before it goes, the next one comes. */
  private moveOn(block: number): void {
    for (const held of this.blocks.keys()) if (held < block) this.blocks.delete(held);
    // A failure shows again, to somebody who waits, when the block is needed.
    this.loadBlock(block + 1).catch(() => {});
  }

  private loadBlock(block: number): Promise<void> {
    if (block >= this.lane.blocks || this.blocks.has(block)) return Promise.resolve();
    const known = this.loading.get(block);
    if (known) return known;
    const loading = this.seeds
      .readBlock(this.lane, block)
      .then((bytes) => {
        this.blocks.set(block, bytes);
      })
      .finally(() => this.loading.delete(block));
    this.loading.set(block, loading);
    return loading;
  }
}
