import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Manifest, ManifestShard } from "../../../core/format/manifest.ts";
import { BLOCK_RECORDS } from "../../../core/format/seedfile.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import { SeedReader } from "../../../core/store/seed-reader.ts";
import { type Minted, mint } from "../../../scripts/torture/stage/minted.ts";

let minted: Minted;
let manifest: Manifest;
let shard: ManifestShard;
let path: string;
let good: Buffer;

beforeAll(async () => {
  minted = await mint({ packets: 24, budgetCents: 2400, shards: 1 });
  manifest = (await readManifest(minted.epochDir)).manifest;
  path = minted.epochDir.seed(0);
  good = readFileSync(path);
  chmodSync(path, 0o644);
  const [first] = manifest.shards;
  if (first === undefined) throw new Error("one shard was minted");
  shard = first;
});
afterAll(() => minted.remove());

async function readAll(): Promise<Buffer> {
  const reader = await SeedReader.open(path, manifest, shard);
  try {
    const blocks: Buffer[] = [];
    for (const lane of reader.layout.lanes)
      for (let block = 0; block < lane.blocks; block++) blocks.push(await reader.readBlock(lane, block));
    return Buffer.concat(blocks);
  } finally {
    await reader.close();
  }
}

describe("seed reader", () => {
  it("gives back the records that were sealed", async () => {
    expect((await readAll()).equals(good.subarray(good.length - 24 * 45))).toBe(true);
  });

  it("finds every flipped bit of the file", async () => {
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = Buffer.from(good);
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      writeFileSync(path, bad);
      await expect(readAll(), `bit ${bit}`).rejects.toMatchObject({ code: "invalid_seed_file" });
    }
    writeFileSync(path, good);
  });

  it("finds every truncation, every longer file, and records that changed places", async () => {
    for (let length = 0; length < good.length; length += 7) {
      writeFileSync(path, good.subarray(0, length));
      await expect(readAll()).rejects.toMatchObject({ code: "invalid_seed_file" });
    }
    writeFileSync(path, Buffer.concat([good, Buffer.alloc(45)]));
    await expect(readAll()).rejects.toMatchObject({ code: "invalid_seed_file" });
    const swapped = Buffer.from(good);
    good.copy(swapped, good.length - 90, good.length - 45);
    good.copy(swapped, good.length - 45, good.length - 90, good.length - 45);
    writeFileSync(path, swapped);
    await expect(readAll()).rejects.toMatchObject({ code: "invalid_seed_file" });
    writeFileSync(path, good);
  });

  it("a file that is missing, or shrinks or goes away beneath its reader, is named", async () => {
    await expect(SeedReader.open(`${path}.none`, manifest, shard)).rejects.toMatchObject({
      code: "missing_file",
    });
    const reader = await SeedReader.open(path, manifest, shard);
    const [lane] = reader.layout.lanes;
    if (lane === undefined) throw new Error("a lane");
    writeFileSync(path, good.subarray(0, lane.recordsAt + 7));
    await expect(reader.readBlock(lane, 0)).rejects.toMatchObject({
      code: "invalid_seed_file",
      message: `${path} ends at byte ${lane.recordsAt + 7}: fetch the shard again`,
    });
    writeFileSync(path, good);
    await reader.close();
    await expect(reader.readBlock(lane, 0)).rejects.toMatchObject({ code: "unreadable_file" });
  });

  it("reads lanes of many blocks, the last one short", async () => {
    const large = await mint({ packets: 2 * BLOCK_RECORDS + 500, budgetCents: 500_000, shards: 1 });
    const file = (await readManifest(large.epochDir)).manifest;
    const [first] = file.shards;
    if (first === undefined) throw new Error("one shard was minted");
    const reader = await SeedReader.open(large.epochDir.seed(0), file, first);
    const sizes = [];
    for (const lane of reader.layout.lanes)
      for (let block = 0; block < lane.blocks; block++)
        sizes.push((await reader.readBlock(lane, block)).length / 45);
    await reader.close();
    expect(sizes.reduce((sum, n) => sum + n, 0)).toBe(2 * BLOCK_RECORDS + 500);
    expect(Math.max(...sizes)).toBe(BLOCK_RECORDS);
    large.remove();
  });
});
