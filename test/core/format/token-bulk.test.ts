import { createCipheriv } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { gcm } from "@noble/ciphers/aes.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checksumHolds, settlementChecksum } from "../../../core/format/checksum.ts";
import { GcmBatch, viewOf } from "../../../core/format/gcm-batch.ts";
import {
  type Packet,
  sealToken,
  TOKEN_BYTES,
  type TokenScope,
  tokenAad,
  tokenNonce,
} from "../../../core/format/token.ts";
import {
  checkChecksums,
  fillChecksums,
  type PacketColumns,
  packetColumns,
  TokenBulk,
} from "../../../core/format/token-bulk.ts";
import { bothOpen } from "./both-paths.ts";

const WYCHEPROOF = new URL("../../../../shared/vectors/aes_gcm_256_96_128.json", import.meta.url);

const key32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const u32 = fc.nat({ max: 0xffff_ffff });
const u16 = fc.nat({ max: 0xffff });
const scopeOf: fc.Arbitrary<TokenScope> = fc.record({
  campaign: fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,62}$/),
  mode: fc.constantFrom("test" as const, "live" as const),
  epoch: u16,
  shard: u16,
  packets: fc.integer({ min: 1, max: 0xffff_ffff }),
});
const packetOf = (scope: TokenScope): fc.Arbitrary<Packet> =>
  fc.record({
    serial: fc.nat({ max: scope.packets - 1 }),
    cents: u32,
    ad: u16,
    checksum: fc.uint8Array({ minLength: 6, maxLength: 6 }),
  });
const sealed = fc
  .tuple(key32, scopeOf)
  .chain(([key, scope]) =>
    fc.record({ key: fc.constant(key), scope: fc.constant(scope), packet: packetOf(scope) }),
  );

function columns(packets: readonly Packet[]): PacketColumns {
  const filled = packetColumns(packets.length);
  for (const [i, packet] of packets.entries()) {
    filled.serials[i] = packet.serial;
    filled.cents[i] = packet.cents;
    filled.ads[i] = packet.ad;
    filled.checksums.set(packet.checksum, i * 6);
  }
  return filled;
}

/** The token as OpenSSL seals it: a third implementation that shares no code with ours. */
function opensslSeal(key: Uint8Array, scope: TokenScope, packet: Packet): Buffer {
  const nonce = tokenNonce(scope, packet.serial);
  const plain = Buffer.alloc(16);
  plain.writeUInt32BE(packet.serial, 0);
  plain.writeUInt32BE(packet.cents, 4);
  plain.writeUInt16BE(packet.ad, 8);
  plain.set(packet.checksum, 10);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(tokenAad(scope.campaign, scope.mode));
  return Buffer.concat([
    Buffer.from([0x10]),
    nonce,
    cipher.update(plain),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
}

describe("token: three implementations agree", () => {
  it("noble, bulk and OpenSSL seal the same bytes, and both open them", () => {
    fc.assert(
      fc.property(sealed, ({ key, scope, packet }) => {
        const reference = Buffer.from(sealToken(key, scope, packet));
        const bulk = Buffer.alloc(TOKEN_BYTES);
        new TokenBulk(key, scope).seal(columns([packet]), 1, bulk);
        expect(reference.equals(opensslSeal(key, scope, packet))).toBe(true);
        expect(reference.equals(bulk)).toBe(true);
        const plain = { ...packet, checksum: Uint8Array.from(packet.checksum) };
        for (const opened of bothOpen(key, scope, reference))
          expect({ ...opened, checksum: Uint8Array.from(opened?.checksum ?? []) }).toEqual(plain);
      }),
      { numRuns: 500 },
    );
  });

  it("a batch is its packets one by one, and a refused token in it refuses only itself", () => {
    const batch = fc.tuple(key32, scopeOf).chain(([key, scope]) =>
      fc.record({
        key: fc.constant(key),
        scope: fc.constant(scope),
        packets: fc.array(packetOf(scope), { minLength: 1, maxLength: 60 }),
        bad: fc.nat({ max: 59 }),
      }),
    );
    fc.assert(
      fc.property(batch, ({ key, scope, packets, bad }) => {
        const bulk = new TokenBulk(key, scope);
        const tokens = Buffer.alloc(packets.length * TOKEN_BYTES);
        bulk.seal(columns(packets), packets.length, tokens);
        for (const [i, packet] of packets.entries())
          expect(tokens.subarray(i * 45, i * 45 + 45).equals(sealToken(key, scope, packet))).toBe(true);
        const damaged = bad % packets.length;
        tokens[damaged * 45 + 20] = (tokens[damaged * 45 + 20] ?? 0) ^ 1;
        const out = packetColumns(packets.length);
        bulk.open(tokens, packets.length, out);
        expect([...out.valid]).toEqual(packets.map((_, i) => (i === damaged ? 0 : 1)));
      }),
      { numRuns: 100 },
    );
  });

  it("a column that is shorter than its batch is never sealed as packets of no cents", () => {
    const scope = { campaign: "gala", mode: "test" as const, epoch: 1, shard: 0, packets: 10 };
    const bulk = new TokenBulk(Buffer.alloc(32), scope);
    const full = packetColumns(2);
    for (const short of [
      { serials: new Uint32Array(1) },
      { cents: new Uint32Array(1) },
      { ads: new Uint16Array(1) },
    ])
      expect(() => bulk.seal({ ...full, ...short }, 2, Buffer.alloc(90))).toThrow(
        "broken invariant: a column is as long as its batch",
      );
  });

  it("settlement checksums of both paths are one AES block's first six bytes", () => {
    fc.assert(
      fc.property(key32, sealed, (settlement, { scope, packet }) => {
        const filled = columns([packet]);
        fillChecksums(settlement, filled, 1, scope);
        const settled = { ...packet, epoch: scope.epoch, shard: scope.shard };
        expect(Buffer.from(settlementChecksum(settlement, settled)).equals(filled.checksums)).toBe(true);
        expect([...checkChecksums(settlement, filled, 1, scope)]).toEqual([1]);
        expect(checksumHolds(settlement, settled, filled.checksums)).toBe(true);
        const wrong = Uint8Array.from(filled.checksums);
        wrong[5] = (wrong[5] ?? 0) ^ 0x80;
        expect(checksumHolds(settlement, settled, wrong)).toBe(false);
        expect([...checkChecksums(settlement, { ...filled, checksums: wrong }, 1, scope)]).toEqual([0]);
      }),
    );
  });
});

interface WycheproofCase {
  tcId: number;
  key: string;
  iv: string;
  aad: string;
  msg: string;
  ct: string;
  tag: string;
  result: "valid" | "invalid";
}

describe.runIf(existsSync(WYCHEPROOF))(
  "Wycheproof AES-GCM, 256-bit keys, 96-bit nonces, 128-bit tags",
  () => {
    const groups = existsSync(WYCHEPROOF) ? JSON.parse(readFileSync(WYCHEPROOF, "utf8")).testGroups : [];
    const cases: WycheproofCase[] = groups.flatMap((group: { tests: WycheproofCase[] }) => group.tests);

    it("there are 66 of them, some of which the bulk path can take", () => {
      expect(cases).toHaveLength(66);
      expect(cases.filter(({ msg }) => msg.length === 32).length).toBeGreaterThan(5);
    });

    it.each(cases)("$tcId is $result", ({ key, iv, aad, msg, ct, tag, result }) => {
      const [k, n, a, p] = [key, iv, aad, msg].map((hex) => Buffer.from(hex, "hex")) as [
        Buffer,
        Buffer,
        Buffer,
        Buffer,
      ];
      const expected = Buffer.from(ct + tag, "hex");
      const open = () => gcm(k, n, a).decrypt(expected);
      if (result === "valid") {
        expect(Buffer.from(gcm(k, n, a).encrypt(p)).equals(expected)).toBe(true);
        expect(Buffer.from(open()).equals(p)).toBe(true);
      } else expect(open).toThrow();
      if (expected.length !== 32) return;
      const batch = new GcmBatch(k, a);
      const plain = Buffer.alloc(16);
      batch.begin(viewOf(n), 0, 12, 1);
      expect(batch.open(0, viewOf(expected), 0, viewOf(plain)) === 0).toBe(result === "valid");
      if (result !== "valid") return;
      expect(plain.equals(p)).toBe(true);
      const sealedBytes = Buffer.concat([p, Buffer.alloc(16)]);
      batch.begin(viewOf(n), 0, 12, 1);
      batch.seal(0, viewOf(sealedBytes), 0);
      expect(sealedBytes.equals(expected)).toBe(true);
    });
  },
);
