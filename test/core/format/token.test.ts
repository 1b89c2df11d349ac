import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  campaignTag,
  decodeToken,
  encodeToken,
  readTokenNonce,
  sealToken,
  TOKEN_BYTES,
  type TokenScope,
  tokenAad,
  tokenOpener,
  tokenSerial,
} from "../../../core/format/token.ts";
import { bothOpen } from "./both-paths.ts";

const golden = JSON.parse(readFileSync(new URL("../../vectors/token.json", import.meta.url), "utf8"));

describe("golden and must-reject vectors", () => {
  const key = Buffer.from(golden.key, "hex");
  const scope: TokenScope = golden.scope;
  const token = decodeToken(golden.token);

  it("the golden packet seals to the golden token and back", () => {
    const packet = { ...golden.packet, checksum: Buffer.from(golden.packet.checksum, "hex") };
    expect(encodeToken(sealToken(key, scope, packet))).toBe(golden.token);
    for (const opened of bothOpen(key, scope, token ?? Buffer.alloc(0)))
      expect(opened).toMatchObject({ serial: packet.serial, cents: packet.cents, ad: packet.ad });
  });

  it("every single flipped bit is refused by both paths", () => {
    for (let bit = 0; bit < TOKEN_BYTES * 8; bit++) {
      const flipped = Buffer.from(token ?? Buffer.alloc(0));
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(bothOpen(key, scope, flipped), `bit ${bit}`).toEqual([undefined, undefined]);
    }
  });

  it("every shorter tag and every longer token is refused", () => {
    for (let length = 0; length <= 60; length++) {
      if (length === TOKEN_BYTES) continue;
      const cut = Buffer.alloc(length);
      cut.set((token ?? Buffer.alloc(0)).subarray(0, length));
      expect(tokenOpener(key, scope)(cut), `${length} bytes`).toBeUndefined();
    }
  });

  it.each(golden.mustReject as { why: string; token: string; scope?: Partial<TokenScope> }[])(
    "$why",
    ({ token: text, scope: other }) => {
      const bytes = decodeToken(text);
      if (bytes === undefined) return;
      expect(bothOpen(key, { ...scope, ...other }, bytes)).toEqual([undefined, undefined]);
    },
  );

  it.each(golden.notSpelledSo as string[])("%j is not a spelling of a token", (text) => {
    expect(decodeToken(text)).toBeUndefined();
  });

  it("a token says where it belongs to whoever asks, in its nonce", () => {
    const bytes = token ?? Buffer.alloc(0);
    const inside = Buffer.concat([Buffer.alloc(7, 0xff), bytes]).subarray(7);
    const place = { epoch: scope.epoch, shard: scope.shard, serial: golden.packet.serial };
    expect(readTokenNonce(inside)).toEqual({ campaignTag: campaignTag(scope.campaign), ...place });
    expect(tokenSerial(inside)).toBe(golden.packet.serial);
    expect(encodeToken(inside)).toBe(golden.token);
  });

  it("a campaign's tag is the beginning of the hash of its name", () => {
    const hash = createHash("sha256").update("gala-2027").digest();
    const aad = Buffer.concat([Buffer.from("hongbao.token.v1"), Buffer.from([0x10, 2]), hash]);
    expect(campaignTag("gala-2027")).toBe(hash.readUInt32BE(0));
    expect(Buffer.from(tokenAad("gala-2027", "test")).equals(aad)).toBe(true);
  });

  it("a token of the same key, genuine but for another campaign, epoch, shard or mode, is refused", () => {
    const packet = { ...golden.packet, checksum: Buffer.from(golden.packet.checksum, "hex") };
    for (const other of [{ campaign: "gala-2028" }, { epoch: 2 }, { shard: 3 }, { mode: "live" as const }])
      expect(
        bothOpen(key, scope, sealToken(key, { ...scope, ...other }, packet)),
        JSON.stringify(other),
      ).toEqual([undefined, undefined]);
  });

  it("of another shard's size: the last serial opens, the one behind it does not", () => {
    const packet = { ...golden.packet, serial: 99, checksum: Buffer.alloc(6) };
    const last = sealToken(key, { ...scope, packets: 100 }, packet);
    expect(bothOpen(key, { ...scope, packets: 100 }, last).map((opened) => opened?.serial)).toEqual([99, 99]);
    expect(bothOpen(key, { ...scope, packets: 99 }, last)).toEqual([undefined, undefined]);
  });

  it("the mint asserts what it seals", () => {
    const packet = { ...golden.packet, checksum: Buffer.alloc(6) };
    expect(() => sealToken(key, scope, { ...packet, serial: scope.packets })).toThrow(
      "broken invariant: a serial is below its shard's count",
    );
    for (const length of [5, 7])
      expect(() => sealToken(key, scope, { ...packet, checksum: Buffer.alloc(length) })).toThrow(
        "broken invariant: a checksum has 6 bytes",
      );
    for (const length of [44, 46])
      expect(() => encodeToken(Buffer.alloc(length))).toThrow("broken invariant: a token has 45 bytes");
  });
});
