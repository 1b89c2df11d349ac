import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  batchHash,
  decodeAck,
  decodeBatch,
  encodeAck,
  encodeBatch,
  peekBatch,
} from "../../../core/format/claim-batch.ts";

const key = Buffer.alloc(32, 9);
const bytes = (n: number) => fc.uint8Array({ minLength: n, maxLength: n }).map((b) => Buffer.from(b));
const range = {
  campaignTag: fc.nat({ max: 0xffff_ffff }),
  epoch: fc.nat({ max: 0xffff }),
  shard: fc.nat({ max: 0xffff }),
  journalId: bytes(16),
  from: fc.maxSafeNat(),
  to: fc.maxSafeNat(),
};
const name = fc.string({ maxLength: 40, unit: "grapheme" });
const batch = fc.record({
  ...range,
  forLedger: bytes(16),
  claims: fc.array(fc.record({ token: bytes(45), user: name, device: name, atMs: fc.maxSafeNat() }), {
    maxLength: 8,
  }),
});
const ack = fc.record({
  ...range,
  ledgerId: bytes(16),
  batchHash: bytes(32),
  standing: fc.constantFrom("own-journal" as const, "other-journal" as const),
  settledUpTo: fc.maxSafeNat(),
});

const emptyRange = { campaignTag: 1, epoch: 1, shard: 0, journalId: Buffer.alloc(16, 1), from: 0, to: 0 };
const emptyBatch = { ...emptyRange, forLedger: Buffer.alloc(16, 2), claims: [] };
const emptyAck = {
  ...emptyRange,
  ledgerId: Buffer.alloc(16, 2),
  batchHash: Buffer.alloc(32, 3),
  standing: "own-journal" as const,
  settledUpTo: 0,
};

/** The message with one byte of its body set, under a MAC made by the layout above the codec. */
function resealed(message: Buffer, at: number, value: number, label = "hongbao.ack.v1"): Buffer {
  const body = Buffer.from(message.subarray(0, -32));
  body[at] = value;
  const prefix = Buffer.from([0, label.length]);
  return Buffer.concat([body, createHmac("sha256", key).update(prefix).update(label).update(body).digest()]);
}

function flip(value: Buffer, bit: number): Buffer {
  const flipped = Buffer.from(value);
  const at = (bit >> 3) % value.length;
  flipped[at] = (flipped[at] ?? 0) ^ (1 << (bit & 7));
  return flipped;
}

describe("claim batch and acknowledgement", () => {
  it("decode to what was encoded, and only under the wire key they were made with", () => {
    fc.assert(
      fc.property(batch, ack, (claims, answer) => {
        const encoded = encodeBatch(key, claims);
        expect(decodeBatch(key, encoded)).toEqual(claims);
        expect(decodeBatch(Buffer.alloc(32, 8), encoded)).toBeUndefined();
        const { claims: _, forLedger: __, ...head } = claims;
        expect(peekBatch(encoded)).toEqual(head);
        expect(decodeAck(key, encodeAck(key, answer))).toEqual(answer);
        expect(decodeAck(Buffer.alloc(32, 8), encodeAck(key, answer))).toBeUndefined();
      }),
    );
  });

  it("one is never taken for the other, though both are under one key", () => {
    fc.assert(
      fc.property(batch, ack, (claims, answer) => {
        expect(decodeAck(key, encodeBatch(key, claims))).toBeUndefined();
        expect(decodeBatch(key, encodeAck(key, answer))).toBeUndefined();
      }),
    );
  });

  it("any flipped bit, any cut and any appended byte is refused", () => {
    fc.assert(
      fc.property(batch, fc.nat(), (claims, at) => {
        const encoded = encodeBatch(key, claims);
        expect(decodeBatch(key, flip(encoded, at))).toBeUndefined();
        expect(decodeBatch(key, encoded.subarray(0, at % encoded.length))).toBeUndefined();
        expect(decodeBatch(key, Buffer.concat([encoded, Buffer.alloc(1)]))).toBeUndefined();
        expect(Buffer.from(batchHash(flip(encoded, at))).equals(batchHash(encoded))).toBe(false);
      }),
    );
  });

  it("a thousand claims are a batch, and one more is none, whoever sealed it", () => {
    const claim = { token: Buffer.alloc(45), user: "u", device: "d", atMs: 1 };
    const of = (count: number) =>
      encodeBatch(key, { ...emptyBatch, claims: Array.from({ length: count }, () => claim) });
    expect(decodeBatch(key, of(1000))?.claims).toHaveLength(1000);
    expect(decodeBatch(key, of(1001))).toBeUndefined();
  });

  it("a worker of another version is not understood, though its MAC holds", () => {
    const answer = encodeAck(key, emptyAck);
    expect(decodeAck(key, resealed(answer, 89, 1))?.standing).toBe("other-journal");
    expect(decodeAck(key, resealed(answer, 89, 2))).toBeUndefined();
    expect(decodeAck(key, resealed(answer, 0, 1))).toEqual(emptyAck);
    expect(decodeAck(key, resealed(answer, 0, 2))).toBeUndefined();
  });

  it("a user that is not UTF-8 is refused, though the MAC holds", () => {
    const claim = { token: Buffer.alloc(45), user: "ab", device: "d", atMs: 1 };
    const batch = encodeBatch(key, { ...emptyBatch, claims: [claim] });
    const at = batch.indexOf("ab");
    expect(decodeBatch(key, resealed(batch, at, 0xff, "hongbao.batch.v1"))).toBeUndefined();
    expect(decodeBatch(key, resealed(batch, at, 0x63, "hongbao.batch.v1"))?.claims[0]?.user).toBe("cb");
  });

  it("rubbish is refused, not thrown over", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (rubbish) => {
        expect(decodeBatch(key, rubbish)).toBeUndefined();
        expect(decodeAck(key, rubbish)).toBeUndefined();
        peekBatch(rubbish);
      }),
    );
  });
});
