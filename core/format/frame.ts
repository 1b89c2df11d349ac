/**
 * Journal frames: everything an access node must not forget, one frame a fact.
 *
 *     segment header   magic 8 ‖ journal ID 16 ‖ campaign tag u32 ‖ epoch u16 ‖ shard u16 ‖ segment u32
 *                      ‖ offset u64 ‖ chain u32 ‖ CRC-32 u32
 *     frame            body length u32 ‖ CRC-32 u32 ‖ type u8 ‖ body
 *
 * Offsets run through all segments as one stream. A frame's CRC covers journal ID, its offset, the previous
 * frame's CRC, type and body: a frame that was moved, repeated or taken from another journal does not fit.
 * A `durable` frame begins every sync group and says: everything before `upTo` had been fsynced when I was
 * written. It carries a magic number and a CRC of its own, so that it can be found behind damage.
 */
import { crc32 } from "node:zlib";
import { ByteReader, ByteWriter } from "./bytes.ts";
import { type Claim, ID_BYTES } from "./claim.ts";
import { readWon, type Won, writeWon } from "./pass.ts";
import { TOKEN_BYTES } from "./token.ts";

export const FRAME_HEAD_BYTES = 9;
export const FRAME_BODY_BYTES_MAX = 64 * 1024;
export const SEGMENT_HEADER_BYTES = 52;
const SEGMENT_MAGIC = Buffer.from("hbjrnl\0\x01", "latin1");
export const DURABLE_MAGIC = Buffer.from("hbdurabl", "latin1");

/** A packet's hand-out. `request` is there if the client sent an Idempotency-Key. */
interface Issue {
  readonly lane: number;
  readonly position: number;
  readonly serial: number;
  readonly atMs: number;
  readonly user: string;
  readonly device: string;
  /** Hash of (user, device, key) and hash of the body, 16 bytes each. */
  readonly request?: { readonly key: Uint8Array; readonly body: Uint8Array };
  /** What the user has won, this packet included: the pass can be made again from it. */
  readonly won: Won;
}

export type Frame =
  | ({ readonly type: "issue" } & Issue)
  | ({ readonly type: "claim"; readonly serial: number } & Claim)
  /** Positions of `lane` below `upTo` may be issued. */
  | { readonly type: "lease"; readonly lane: number; readonly upTo: number }
  /** Leased before a crash and never recorded as handed out: [from, to) of `lane`. */
  | { readonly type: "burn"; readonly lane: number; readonly from: number; readonly to: number }
  /** A clean stop gives the rest of every lease back: lane i goes on at cursors[i]. */
  | { readonly type: "return"; readonly cursors: readonly number[] }
  | { readonly type: "durable"; readonly offset: number; readonly upTo: number }
  /** Claims below `upTo` are committed in the ledger of this ID. */
  | { readonly type: "acknowledged"; readonly ledgerId: Uint8Array; readonly upTo: number };

const TYPES = { issue: 1, claim: 2, lease: 3, burn: 4, return: 5, durable: 6, acknowledged: 7 } as const;

export interface SegmentHeader {
  readonly journalId: Uint8Array;
  readonly campaignTag: number;
  readonly epoch: number;
  readonly shard: number;
  readonly segment: number;
  /** Stream offset of the segment's first frame. */
  readonly offset: number;
  /** CRC of the frame before it, 0 at the very beginning. */
  readonly chain: number;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = new ByteWriter(SEGMENT_HEADER_BYTES)
    .bytes(SEGMENT_MAGIC)
    .bytes(header.journalId)
    .u32(header.campaignTag)
    .u16(header.epoch)
    .u16(header.shard)
    .u32(header.segment)
    .u64(header.offset)
    .u32(header.chain);
  return bytes.u32(crc32(bytes.done())).done();
}

/** @returns the header, or undefined if the bytes are none (torn, damaged or of another version). */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES || !SEGMENT_MAGIC.equals(bytes.subarray(0, 8))) return undefined;
  const crc = new ByteReader(bytes.subarray(SEGMENT_HEADER_BYTES - 4)).u32();
  if (crc !== crc32(bytes.subarray(0, SEGMENT_HEADER_BYTES - 4))) return undefined;
  const reader = new ByteReader(bytes.subarray(8));
  return {
    journalId: Buffer.from(reader.bytes(ID_BYTES)),
    campaignTag: reader.u32(),
    epoch: reader.u16(),
    shard: reader.u16(),
    segment: reader.u32(),
    offset: reader.u64(),
    chain: reader.u32(),
  };
}

/** @returns the frame's bytes and its CRC, the `chain` of the next frame. */
export function encodeFrame(
  frame: Frame,
  journalId: Uint8Array,
  offset: number,
  chain: number,
): { bytes: Buffer; crc: number } {
  const body = encodeBody(frame, journalId);
  const crc = frameCrc(journalId, offset, chain, TYPES[frame.type], body);
  const bytes = new ByteWriter(FRAME_HEAD_BYTES + body.length)
    .u32(body.length)
    .u32(crc)
    .u8(TYPES[frame.type])
    .bytes(body);
  return { bytes: bytes.done(), crc };
}

export type Decoded =
  | { readonly state: "frame"; readonly frame: Frame; readonly bytes: number; readonly crc: number }
  /** The input ends before the frame does: `bytes` are needed in all. */
  | { readonly state: "short"; readonly bytes: number }
  | { readonly state: "damaged"; readonly why: string };

/** Reads the frame that begins at stream offset `offset`, at the start of `bytes`. */
export function decodeFrame(bytes: Buffer, journalId: Uint8Array, offset: number, chain: number): Decoded {
  if (bytes.length < FRAME_HEAD_BYTES) return { state: "short", bytes: FRAME_HEAD_BYTES };
  const length = bytes.readUInt32BE(0);
  if (length > FRAME_BODY_BYTES_MAX) return { state: "damaged", why: `a frame of ${length} bytes` };
  const end = FRAME_HEAD_BYTES + length;
  if (bytes.length < end) return { state: "short", bytes: end };
  const crc = bytes.readUInt32BE(4);
  const type = bytes.readUInt8(8);
  const body = bytes.subarray(FRAME_HEAD_BYTES, end);
  if (crc !== frameCrc(journalId, offset, chain, type, body))
    return { state: "damaged", why: "a checksum that does not hold" };
  try {
    return { state: "frame", frame: decodeBody(type, body, journalId), bytes: end, crc };
  } catch (error) {
    /* v8 ignore else -- no decoder throws anything else; what does is a bug of ours, and no damage of the disk's */
    if (error instanceof RangeError || error instanceof TypeError)
      return { state: "damaged", why: "a body that does not parse" };
    throw error;
  }
}

function frameCrc(
  journalId: Uint8Array,
  offset: number,
  chain: number,
  type: number,
  body: Uint8Array,
): number {
  const context = new ByteWriter(29).bytes(journalId).u64(offset).u32(chain).u8(type).done();
  return crc32(body, crc32(context));
}

/** Body of a `durable` frame: magic 8 ‖ journal ID 16 ‖ offset u64 ‖ upTo u64 ‖ CRC-32 u32. */
const DURABLE_BODY_BYTES = 44;

/** @returns the statement whose body begins at `bytes`, read without the chain, or undefined. */
export function decodeDurable(
  bytes: Uint8Array,
  journalId: Uint8Array,
): { offset: number; upTo: number } | undefined {
  if (bytes.length < DURABLE_BODY_BYTES || !DURABLE_MAGIC.equals(bytes.subarray(0, 8))) return undefined;
  const reader = new ByteReader(bytes.subarray(8, DURABLE_BODY_BYTES));
  if (!reader.bytes(ID_BYTES).equals(journalId)) return undefined;
  const [high, low] = [reader.bytes(8), reader.bytes(8)];
  if (reader.u32() !== crc32(bytes.subarray(0, DURABLE_BODY_BYTES - 4))) return undefined;
  return { offset: new ByteReader(high).u64(), upTo: new ByteReader(low).u64() };
}

function encodeBody(frame: Frame, journalId: Uint8Array): Buffer {
  const bytes = new ByteWriter(160);
  switch (frame.type) {
    case "issue":
      bytes.u16(frame.lane).u32(frame.position).u32(frame.serial).u64(frame.atMs);
      bytes
        .text(frame.user)
        .text(frame.device)
        .u8(frame.request ? 1 : 0);
      if (frame.request) bytes.bytes(frame.request.key).bytes(frame.request.body);
      writeWon(bytes, frame.won);
      break;
    case "claim":
      bytes.u32(frame.serial).bytes(frame.token).text(frame.user).text(frame.device).u64(frame.atMs);
      break;
    case "lease":
      bytes.u16(frame.lane).u32(frame.upTo);
      break;
    case "burn":
      bytes.u16(frame.lane).u32(frame.from).u32(frame.to);
      break;
    case "return":
      bytes.u16(frame.cursors.length);
      for (const cursor of frame.cursors) bytes.u32(cursor);
      break;
    case "durable":
      bytes.bytes(DURABLE_MAGIC).bytes(journalId).u64(frame.offset).u64(frame.upTo);
      bytes.u32(crc32(bytes.done()));
      break;
    case "acknowledged":
      bytes.bytes(frame.ledgerId).u64(frame.upTo);
      break;
  }
  return bytes.done();
}

function decodeBody(type: number, body: Buffer, journalId: Uint8Array): Frame {
  const bytes = new ByteReader(body);
  const frame = decodeFields(type, bytes, body, journalId);
  bytes.end();
  return frame;
}

function decodeFields(type: number, bytes: ByteReader, body: Buffer, journalId: Uint8Array): Frame {
  switch (type) {
    case TYPES.issue:
      return decodeIssue(bytes);
    case TYPES.claim:
      return {
        type: "claim",
        serial: bytes.u32(),
        token: bytes.bytes(TOKEN_BYTES),
        user: bytes.text(),
        device: bytes.text(),
        atMs: bytes.u64(),
      };
    case TYPES.lease:
      return { type: "lease", lane: bytes.u16(), upTo: bytes.u32() };
    case TYPES.burn:
      return { type: "burn", lane: bytes.u16(), from: bytes.u32(), to: bytes.u32() };
    case TYPES.return:
      return { type: "return", cursors: Array.from({ length: bytes.u16() }, () => bytes.u32()) };
    case TYPES.durable: {
      const statement = decodeDurable(bytes.bytes(body.length), journalId);
      if (!statement) throw new RangeError("not a statement");
      return { type: "durable", ...statement };
    }
    case TYPES.acknowledged:
      return { type: "acknowledged", ledgerId: bytes.bytes(ID_BYTES), upTo: bytes.u64() };
    default:
      throw new RangeError(`unknown frame type ${type}`);
  }
}

function decodeIssue(bytes: ByteReader): Frame {
  const issue = {
    type: "issue" as const,
    lane: bytes.u16(),
    position: bytes.u32(),
    serial: bytes.u32(),
    atMs: bytes.u64(),
    user: bytes.text(),
    device: bytes.text(),
  };
  const flag = bytes.u8();
  if (flag > 1) throw new RangeError("a flag is 0 or 1");
  const request = flag === 1 ? { key: bytes.bytes(16), body: bytes.bytes(16) } : undefined;
  return { ...issue, ...(request && { request }), won: readWon(bytes) };
}
