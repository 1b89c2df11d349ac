import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { ByteWriter } from "../../../core/format/bytes.ts";
import {
  type Decoded,
  decodeDurable,
  decodeFrame,
  decodeSegmentHeader,
  encodeFrame,
  encodeSegmentHeader,
  type Frame,
} from "../../../core/format/frame.ts";

const JOURNAL = Buffer.alloc(16, 7);
const OFFSET = 1000;
const CHAIN = 0xdead_beef;
const LEASE = 3;
const DURABLE = 6;

/** A frame written by the layout above the codec, whose checksum holds whatever its body says. */
function frameOf(type: number, body: Uint8Array): Buffer {
  const context = new ByteWriter().bytes(JOURNAL).u64(OFFSET).u32(CHAIN).u8(type).done();
  const crc = crc32(body, crc32(context));
  return new ByteWriter().u32(body.length).u32(crc).u8(type).bytes(body).done();
}

const decode = (bytes: Buffer): Decoded => decodeFrame(bytes, JOURNAL, OFFSET, CHAIN);
const encode = (frame: Frame): Buffer => encodeFrame(frame, JOURNAL, OFFSET, CHAIN).bytes;
const damaged = { state: "damaged", why: "a body that does not parse" };

const header = { journalId: JOURNAL, campaignTag: 1, epoch: 2, shard: 3, segment: 4, offset: 5, chain: 6 };

describe("frame", () => {
  it("is laid out as drawn: a lease byte by byte", () => {
    const body = Buffer.from([0, 9, 0, 0, 1, 0]);
    expect(encode({ type: "lease", lane: 9, upTo: 256 }).equals(frameOf(LEASE, body))).toBe(true);
    expect(decode(frameOf(LEASE, body))).toEqual({
      state: "frame",
      frame: { type: "lease", lane: 9, upTo: 256 },
      bytes: 15,
      crc: frameOf(LEASE, body).readUInt32BE(4),
    });
  });

  const holder = { user: "ann", device: "phone", atMs: 1_800_000_000_000 };
  const issue = { type: "issue", lane: 1, position: 2, serial: 3, ...holder, won: [] } as const;
  it.each<Frame>([
    issue,
    { ...issue, request: { key: Buffer.alloc(16, 1), body: Buffer.alloc(16, 2) } },
    { ...issue, won: [{ epoch: 1, shard: 2, ad: 3, packets: 4 }] },
    { type: "claim", serial: 3, token: Buffer.alloc(45, 1), ...holder },
    { type: "lease", lane: 1, upTo: 8 },
    { type: "burn", lane: 1, from: 2, to: 8 },
    { type: "return", cursors: [1, 0xffff_ffff] },
    { type: "durable", offset: OFFSET, upTo: 900 },
    { type: "acknowledged", ledgerId: Buffer.alloc(16, 3), upTo: 2 ** 40 },
  ])("of every kind comes back as it was written: $type", (frame) => {
    const bytes = encode(frame);
    expect(decode(bytes)).toEqual({ state: "frame", frame, bytes: bytes.length, crc: bytes.readUInt32BE(4) });
  });

  it("fits one place only: its journal, its offset, behind its predecessor", () => {
    const bytes = encode({ type: "lease", lane: 9, upTo: 256 });
    const misfit = { state: "damaged", why: "a checksum that does not hold" };
    expect(decodeFrame(bytes, Buffer.alloc(16, 8), OFFSET, CHAIN)).toEqual(misfit);
    expect(decodeFrame(bytes, JOURNAL, OFFSET + 1, CHAIN)).toEqual(misfit);
    expect(decodeFrame(bytes, JOURNAL, OFFSET, CHAIN + 1)).toEqual(misfit);
  });

  it("cut anywhere says how many bytes it needs", () => {
    const bytes = encode({ type: "lease", lane: 9, upTo: 256 });
    for (let length = 0; length < bytes.length; length++)
      expect(decode(bytes.subarray(0, length))).toEqual({ state: "short", bytes: length < 9 ? 9 : 15 });
  });

  it("of an absurd length is damage, and nobody waits for its bytes", () => {
    const bytes = Buffer.alloc(9);
    bytes.writeUInt32BE(64 * 1024, 0);
    expect(decode(bytes)).toEqual({ state: "short", bytes: 9 + 64 * 1024 });
    bytes.writeUInt32BE(64 * 1024 + 1, 0);
    expect(decode(bytes)).toEqual({ state: "damaged", why: "a frame of 65537 bytes" });
  });

  it.each([
    ["is too short", LEASE, Buffer.from([0, 9, 0, 0, 1])],
    ["is too long", LEASE, Buffer.from([0, 9, 0, 0, 1, 0, 0])],
    ["is of no known type", 8, Buffer.alloc(6)],
    ["is of type 0", 0, Buffer.alloc(6)],
    ["states nothing", DURABLE, Buffer.alloc(44)],
    ["has a user that is not UTF-8", 2, claimBody(Buffer.from([0, 2, 0xc3, 0x28]))],
    ["has a flag that is neither 0 nor 1", 1, issueBody(2)],
  ])("whose checksum holds but whose body %s is damage", (_, type, body) => {
    expect(decode(frameOf(type, body))).toEqual(damaged);
  });

  it("a flag of 0 or 1 says whether the hand-out had an Idempotency-Key", () => {
    expect(decode(frameOf(1, issueBody(0)))).toMatchObject({ frame: { user: "u", won: [] } });
    const { state } = decode(frameOf(1, issueBody(1, Buffer.alloc(32, 1))));
    expect(state).toBe("frame");
  });
});

describe("a statement of what is durable", () => {
  const bytes = encode({ type: "durable", offset: OFFSET, upTo: 900 });
  const body = bytes.subarray(9);

  it("is found without its place, and only in its own journal", () => {
    expect(decodeDurable(body, JOURNAL)).toEqual({ offset: OFFSET, upTo: 900 });
    expect(decodeDurable(body, Buffer.alloc(16, 8))).toBeUndefined();
  });

  it("is none with any bit of it changed, or its end missing", () => {
    for (let bit = 0; bit < body.length * 8; bit++) {
      const flipped = Buffer.from(body);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(decodeDurable(flipped, JOURNAL), `bit ${bit}`).toBeUndefined();
    }
    for (let length = 0; length < body.length; length++)
      expect(decodeDurable(body.subarray(0, length), JOURNAL)).toBeUndefined();
  });
});

describe("segment header", () => {
  it("comes back as it was written, in 52 bytes", () => {
    expect(encodeSegmentHeader(header)).toHaveLength(52);
    expect(decodeSegmentHeader(encodeSegmentHeader(header))).toEqual(header);
  });

  it("is none with any bit of it changed, or its end missing", () => {
    const bytes = encodeSegmentHeader(header);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(decodeSegmentHeader(flipped), `bit ${bit}`).toBeUndefined();
    }
    expect(decodeSegmentHeader(bytes.subarray(0, 51))).toBeUndefined();
  });
});

function claimBody(user: Uint8Array): Buffer {
  return new ByteWriter().u32(1).bytes(Buffer.alloc(45)).bytes(user).text("phone").u64(1).done();
}

function issueBody(flag: number, request: Uint8Array = new Uint8Array(0)): Buffer {
  const issue = new ByteWriter().u16(0).u32(1).u32(2).u64(3).text("u").text("d").u8(flag);
  return issue.bytes(request).u16(0).done();
}
