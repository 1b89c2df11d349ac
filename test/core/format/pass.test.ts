import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addWon,
  mergeWon,
  openQuota,
  openReceipt,
  sealPass,
  type Won,
  wonInAll,
  wonOfAd,
} from "../../../core/format/pass.ts";

const keys = { receipt: Buffer.alloc(32, 1), quota: Buffer.alloc(32, 2) };
const u16 = fc.nat({ max: 0xffff });
const name = fc.string({ minLength: 1, maxLength: 40, unit: "grapheme" });
const holder = fc.record({ user: name, device: name });
const won: fc.Arbitrary<Won> = fc
  .uniqueArray(fc.record({ epoch: u16, shard: u16, ad: u16, packets: fc.integer({ min: 1, max: 0xffff }) }), {
    selector: ({ epoch, shard, ad }) => `${epoch}-${shard}-${ad}`,
    maxLength: 20,
  })
  .map((entries) => [...entries].sort((a, b) => a.epoch - b.epoch || a.shard - b.shard || a.ad - b.ad));
const pass = fc.record({
  packet: fc.record({ epoch: u16, shard: u16, serial: fc.nat({ max: 0xffff_ffff }) }),
  won,
});

describe("pass", () => {
  it("gives back what was sealed, to the holder and to any node", () => {
    fc.assert(
      fc.property(holder, pass, (who, value) => {
        const text = sealPass(keys, who, value);
        expect(openReceipt(keys.receipt, who, text)).toEqual(value);
        expect(openQuota(keys.quota, who.user, text)).toEqual(value.won);
      }),
    );
  });

  it("is nobody else's: any other user or device, however the two are split", () => {
    fc.assert(
      fc.property(holder, holder, pass, (who, other, value) => {
        fc.pre(who.user !== other.user || who.device !== other.device);
        const text = sealPass(keys, who, value);
        expect(openReceipt(keys.receipt, other, text)).toBeUndefined();
        if (who.user !== other.user) expect(openQuota(keys.quota, other.user, text)).toBeUndefined();
      }),
    );
    const text = sealPass(
      keys,
      { user: "ab", device: "c" },
      { packet: { epoch: 1, shard: 0, serial: 1 }, won: [] },
    );
    expect(openReceipt(keys.receipt, { user: "a", device: "bc" }, text)).toBeUndefined();
  });

  it("every flipped bit, every cut and every other spelling is refused as a receipt", () => {
    const who = { user: "ann", device: "phone" };
    const value = {
      packet: { epoch: 1, shard: 2, serial: 3 },
      won: [{ epoch: 1, shard: 2, ad: 3, packets: 1 }],
    };
    const text = sealPass(keys, who, value);
    const bytes = Buffer.from(text, "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(openReceipt(keys.receipt, who, flipped.toString("base64url")), `bit ${bit}`).toBeUndefined();
      // The receipt MAC is its own shard's business; whatever another node counts by is covered.
      if (bit < (bytes.length - 16) * 8)
        expect(openQuota(keys.quota, who.user, flipped.toString("base64url")), `bit ${bit}`).toBeUndefined();
    }
    for (let length = 0; length < text.length; length++)
      expect(openReceipt(keys.receipt, who, text.slice(0, length))).toBeUndefined();
    for (const other of [`${text}=`, `${text}A`, ` ${text}`, `${text}\n`, bytes.toString("hex")])
      expect(openReceipt(keys.receipt, who, other)).toBeUndefined();
  });

  it("merging is a grow-only counter: in any order, any number of times, nothing lost and nothing twice", () => {
    fc.assert(
      fc.property(won, won, won, (a, b, c) => {
        expect(mergeWon(mergeWon(a, b), c)).toEqual(mergeWon(a, mergeWon(b, c)));
        expect(mergeWon(a, b)).toEqual(mergeWon(b, a));
        expect(mergeWon(a, a)).toEqual(a);
        expect(wonInAll(mergeWon(a, b))).toBeGreaterThanOrEqual(Math.max(wonInAll(a), wonInAll(b)));
      }),
    );
    const one = addWon([], { epoch: 1, shard: 0, ad: 5 });
    const two = addWon(addWon(one, { epoch: 1, shard: 0, ad: 5 }), { epoch: 1, shard: 1, ad: 5 });
    expect([wonInAll(two), wonOfAd(two, 5), wonOfAd(two, 6)]).toEqual([3, 3, 0]);
    expect(mergeWon(one, two)).toEqual(two);
  });
});
