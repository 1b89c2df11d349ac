/**
 * Claims on their way to the worker, and the worker's acknowledgement on its way back. The queue between them
 * is lossy and untrusted: both are authenticated under the shard's wire key, each with its own label.
 *
 *     batch   1 ‖ campaign tag u32 ‖ epoch u16 ‖ shard u16 ‖ journal ID 16 ‖ from u64 ‖ to u64
 *             ‖ ledger ID 16 ‖ count u32 ‖ claims (token 45 ‖ user ‖ device ‖ at ms u64) ‖ HMAC-SHA-256 32
 *     ack     1 ‖ campaign tag u32 ‖ epoch u16 ‖ shard u16 ‖ journal ID 16 ‖ from u64 ‖ to u64
 *             ‖ ledger ID 16 ‖ SHA-256 of the batch 32 ‖ standing u8 ‖ settled up to u64 ‖ HMAC-SHA-256 32
 *
 * [from, to) is a range of journal offsets; acknowledged ranges move the forwarder's position. A batch is meant for
 * one ledger: any other only answers with its own name and credits nothing, so that two ledgers behind one queue
 * never both pay.
 */
import { equalBytes } from "@noble/ciphers/utils.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { ByteReader, ByteWriter } from "./bytes.ts";
import { type Claim, ID_BYTES } from "./claim.ts";
import { TOKEN_BYTES } from "./token.ts";

const VERSION = 1;
const MAC_BYTES = 32;
const STANDINGS = ["own-journal", "other-journal"] as const;
export const BATCH_CLAIMS_MAX = 1000;

/** Stream offsets of a journal: [from, to). */
export interface JournalRange {
  readonly from: number;
  readonly to: number;
}

/** The journal range that a batch carries and an acknowledgement answers. */
export interface BatchRange extends JournalRange {
  readonly campaignTag: number;
  readonly epoch: number;
  readonly shard: number;
  /** 16 bytes */
  readonly journalId: Uint8Array;
}

/** A batch for whichever ledger is there. Nodes never send claims so. */
export const ANY_LEDGER: Uint8Array = new Uint8Array(ID_BYTES);

export interface ClaimBatch extends BatchRange {
  /** 16 bytes: the only ledger that may credit these claims. */
  readonly forLedger: Uint8Array;
  readonly claims: readonly Claim[];
}

export interface Acknowledgement extends BatchRange {
  /** 16 bytes: a forwarder that meets another ledger starts again from its beginning. */
  readonly ledgerId: Uint8Array;
  /** SHA-256 of the batch's bytes, MAC included. */
  readonly batchHash: Uint8Array;
  /** "other-journal": the ledger knows another journal of this shard, and takes nothing from this one. */
  readonly standing: "own-journal" | "other-journal";
  /** Every claim of the journal below this offset has its answer in the ledger. */
  readonly settledUpTo: number;
}

export function encodeBatch(wireKey: Uint8Array, batch: ClaimBatch): Buffer {
  const bytes = new ByteWriter(64 + batch.claims.length * 128);
  writeRange(bytes, batch);
  bytes.bytes(batch.forLedger).u32(batch.claims.length);
  for (const claim of batch.claims)
    bytes.bytes(claim.token).text(claim.user).text(claim.device).u64(claim.atMs);
  return withMac(wireKey, "hongbao.batch.v1", bytes);
}

/** What a batch says of itself, to find its key by; nothing of it is trusted before `decodeBatch`. */
export function peekBatch(bytes: Uint8Array): BatchRange | undefined {
  return attempt(() => readRange(new ByteReader(bytes)));
}

/** @returns the batch, or undefined unless every byte of it is authentic. */
export function decodeBatch(wireKey: Uint8Array, bytes: Uint8Array): ClaimBatch | undefined {
  const body = withoutMac(wireKey, "hongbao.batch.v1", bytes);
  if (body === undefined) return undefined;
  return attempt(() => {
    const reader = new ByteReader(body);
    const range = readRange(reader);
    const forLedger = reader.bytes(ID_BYTES);
    const count = reader.u32();
    if (count > BATCH_CLAIMS_MAX) throw new RangeError("too many claims");
    const claims: Claim[] = [];
    for (let i = 0; i < count; i++)
      claims.push({
        token: reader.bytes(TOKEN_BYTES),
        user: reader.text(),
        device: reader.text(),
        atMs: reader.u64(),
      });
    reader.end();
    return { ...range, forLedger, claims };
  });
}

export function encodeAck(wireKey: Uint8Array, ack: Acknowledgement): Buffer {
  const bytes = new ByteWriter(160);
  writeRange(bytes, ack);
  bytes.bytes(ack.ledgerId).bytes(ack.batchHash).u8(STANDINGS.indexOf(ack.standing)).u64(ack.settledUpTo);
  return withMac(wireKey, "hongbao.ack.v1", bytes);
}

export function decodeAck(wireKey: Uint8Array, bytes: Uint8Array): Acknowledgement | undefined {
  const body = withoutMac(wireKey, "hongbao.ack.v1", bytes);
  if (body === undefined) return undefined;
  return attempt(() => {
    const reader = new ByteReader(body);
    const range = readRange(reader);
    const [ledgerId, hash] = [reader.bytes(ID_BYTES), reader.bytes(32)];
    const standing = STANDINGS[reader.u8()];
    if (standing === undefined) throw new RangeError("unknown standing");
    const settledUpTo = reader.u64();
    reader.end();
    return { ...range, ledgerId, batchHash: hash, standing, settledUpTo };
  });
}

export function batchHash(bytes: Uint8Array): Uint8Array {
  return sha256(bytes);
}

function writeRange(bytes: ByteWriter, range: BatchRange): void {
  bytes
    .u8(VERSION)
    .u32(range.campaignTag)
    .u16(range.epoch)
    .u16(range.shard)
    .bytes(range.journalId)
    .u64(range.from)
    .u64(range.to);
}

function readRange(bytes: ByteReader): BatchRange {
  if (bytes.u8() !== VERSION) throw new RangeError("unknown version");
  return {
    campaignTag: bytes.u32(),
    epoch: bytes.u16(),
    shard: bytes.u16(),
    journalId: bytes.bytes(ID_BYTES),
    from: bytes.u64(),
    to: bytes.u64(),
  };
}

function withMac(key: Uint8Array, label: string, bytes: ByteWriter): Buffer {
  const body = bytes.done();
  return Buffer.concat([body, mac(key, label, body)]);
}

function withoutMac(key: Uint8Array, label: string, bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < MAC_BYTES) return undefined;
  const body = bytes.subarray(0, -MAC_BYTES);
  return equalBytes(mac(key, label, body), bytes.subarray(-MAC_BYTES)) ? body : undefined;
}

function mac(key: Uint8Array, label: string, body: Uint8Array): Uint8Array {
  return hmac.create(sha256, key).update(new ByteWriter(32).text(label).done()).update(body).digest();
}

/** A codec's RangeError (short, long, out of order) and TextDecoder's TypeError are "not one of ours". */
function attempt<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    /* v8 ignore else -- no decoder throws anything else; what does is a bug of ours, and no fault of the sender's */
    if (error instanceof RangeError || error instanceof TypeError) return undefined;
    throw error;
  }
}
