import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { leafHash, merkleRoot } from "../../../core/format/merkle.ts";
import {
  BLOCK_RECORDS,
  checkSeedHeader,
  encodeSeedHeader,
  type SeedHeader,
  seedLayout,
} from "../../../core/format/seedfile.ts";

const lanes = fc.array(
  fc.record({ ad: fc.nat({ max: 0xffff }), packets: fc.integer({ min: 1, max: 5000 }) }),
  {
    minLength: 1,
    maxLength: 12,
  },
);
const header: fc.Arbitrary<SeedHeader> = fc.record({
  campaignTag: fc.nat({ max: 0xffff_ffff }),
  epoch: fc.nat({ max: 0xffff }),
  shard: fc.nat({ max: 0xffff }),
  lanes,
});

describe("seed file layout", () => {
  it("lanes lie one behind the other, each in blocks of its own, and fill the file to the last byte", () => {
    fc.assert(
      fc.property(lanes, (value) => {
        const layout = seedLayout(value);
        let at = layout.recordsAt;
        let block = 0;
        for (const [i, lane] of layout.lanes.entries()) {
          expect(lane).toMatchObject({ ...value[i], recordsAt: at, firstBlock: block });
          expect(lane.blocks).toBe(Math.ceil(lane.packets / BLOCK_RECORDS));
          at += lane.packets * 45;
          block += lane.blocks;
        }
        expect([at, block]).toEqual([layout.fileBytes, layout.blocks]);
        expect(layout.recordsAt).toBe(layout.headerBytes + 32 * block);
      }),
    );
  });

  it("a header is accepted as its own, and as no other", () => {
    fc.assert(
      fc.property(header, header, fc.nat(), (own, other, bit) => {
        const bytes = encodeSeedHeader(own);
        expect(bytes.length).toBe(seedLayout(own.lanes).headerBytes);
        checkSeedHeader(bytes, own, "it");
        const same = encodeSeedHeader(other).equals(bytes);
        if (!same) expect(() => checkSeedHeader(bytes, other, "it")).toThrow(/belongs to|lanes/);
        const flipped = Buffer.from(bytes);
        const at = (bit >> 3) % bytes.length;
        flipped[at] = (flipped[at] ?? 0) ^ (1 << (bit & 7));
        expect(() => checkSeedHeader(flipped, own, "it")).toThrow();
      }),
    );
  });
});

describe("Merkle root", () => {
  const sha = (...parts: Uint8Array[]) => createHash("sha256").update(Buffer.concat(parts)).digest();
  const leaf = (text: string) => leafHash(Buffer.from(text, "hex"));

  /** Roots of the reference inputs that Certificate Transparency implementations share. */
  it.each([
    [1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"],
    [2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    [3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"],
    [5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"],
    [8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"],
  ])("of %i leaves is the published one", (n, root) => {
    const inputs = [
      "",
      "00",
      "10",
      "2021",
      "3031",
      "40414243",
      "5051525354555657",
      "606162636465666768696a6b6c6d6e6f",
    ];
    expect(merkleRoot(inputs.slice(0, n).map(leaf)).toString("hex")).toBe(root);
  });

  it("an inner node never stands for a leaf, and order matters", () => {
    const [a, b] = [leaf("aa"), leaf("bb")];
    const root = merkleRoot([a, b]);
    expect(root.equals(sha(Buffer.from([1]), a, b))).toBe(true);
    expect(root.equals(merkleRoot([b, a]))).toBe(false);
    expect(root.equals(leafHash(Buffer.concat([a, b])))).toBe(false);
  });
});
