import { createCipheriv } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Drbg, PURPOSE } from "../../generator/drbg.ts";

const KEY = Buffer.alloc(32, 7);
const stream = (seed: number) => {
  const key = Buffer.alloc(32);
  key.writeUInt32BE(seed >>> 0);
  return new Drbg(key, { purpose: PURPOSE.order, shard: 0, ad: 0 });
};

test("the stream is AES-256-CTR under the key, from the drawn counter block", () => {
  const random = new Drbg(KEY, { purpose: PURPOSE.amounts, shard: 0x0102, ad: 0x0304 });
  const counter = Buffer.from("68620102010203040000000000000000", "hex");
  const expected = createCipheriv("aes-256-ctr", KEY, counter).update(Buffer.alloc(40_000));
  for (let at = 0; at < expected.length; at += 4) expect(random.u32()).toBe(expected.readUInt32BE(at));
});

test("another purpose, shard or ad is another stream", () => {
  const labels = [1, 2, 3].flatMap((purpose) =>
    [0, 1, 256].flatMap((shard) => [0, 1, 256].map((ad) => ({ purpose: purpose as 1 | 2 | 3, shard, ad }))),
  );
  const first = labels.map(
    (label) => new Drbg(KEY, label).u32() * 2 ** 20 + (new Drbg(KEY, label).u32() >>> 12),
  );
  expect(new Set(first).size).toBe(labels.length);
});

test("bounded draws are in range, also at the ends", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 0xffff_ffff }), (seed, bound) => {
      const drawn = stream(seed).below(bound);
      expect(Number.isInteger(drawn) && drawn >= 0 && drawn < bound).toBe(true);
    }),
    { numRuns: 3000 },
  );
  for (const bound of [0, -1, 1.5, 2 ** 32, Number.NaN])
    expect(() => stream(1).below(bound)).toThrow(/bound/);
});

test("bounded draws are not biased: 3·2^30 would show a plain remainder at once", () => {
  const random = stream(1);
  const thirds = [0, 0, 0];
  const draws = 30_000;
  for (let i = 0; i < draws; i++) {
    const third = Math.floor(random.below(3 * 2 ** 30) / 2 ** 30);
    thirds[third] = (thirds[third] ?? 0) + 1;
  }
  // A remainder of 2^32 would put half of all draws into the first third.
  for (const count of thirds) expect(Math.abs(count - draws / 3)).toBeLessThan(500);
});

test("a shuffle is a permutation", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 0, max: 300 }), (seed, n) => {
      const values = Uint32Array.from({ length: n }, (_, i) => i);
      stream(seed).shuffle(values);
      expect([...values].sort((a, b) => a - b)).toEqual([...Array(n).keys()]);
    }),
    { numRuns: 1000 },
  );
});

test("all 24 orders of four come up equally often (chi-square, 23 degrees of freedom)", () => {
  const counts = new Map<string, number>();
  const random = stream(99);
  const rounds = 24_000;
  for (let i = 0; i < rounds; i++) {
    const values = Uint32Array.of(0, 1, 2, 3);
    random.shuffle(values);
    const order = values.join("");
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  expect(counts.size).toBe(24);
  const chi2 = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
  expect(chi2).toBeLessThan(60); // p < 0.0001 beyond; the key is fixed, so this never flickers
});
