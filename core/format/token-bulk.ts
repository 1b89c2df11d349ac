/**
 * Seals and opens tokens of one shard in batches: `token.ts` computed another way (see `gcm-batch.ts`), held
 * equal to it by property tests. Mint, worker and audit work through it; amounts travel in columns.
 */
import { encryptBlocks, type Settled, writeBlock } from "./checksum.ts";
import { invariant } from "./error.ts";
import { BATCH_MESSAGES_MAX, GcmBatch, viewOf } from "./gcm-batch.ts";
import {
  CHECKSUM_BYTES,
  NONCE_AT,
  SEALED_AT,
  SEALED_BYTES,
  TOKEN_BYTES,
  TOKEN_HEADER,
  type TokenScope,
  tokenAad,
  tokenNonce,
} from "./token.ts";

/** Tokens in one call. */
export const BULK_TOKENS_MAX = BATCH_MESSAGES_MAX;

/** The packets of one batch; row `i` belongs to token `i`. */
export interface PacketColumns {
  readonly serials: Uint32Array;
  readonly cents: Uint32Array;
  readonly ads: Uint16Array;
  /** 6 bytes a packet */
  readonly checksums: Uint8Array;
  /** 1 = opened, 0 = refused (always 1 in front of a seal) */
  readonly valid: Uint8Array;
}

export function packetColumns(packets: number): PacketColumns {
  return {
    serials: new Uint32Array(packets),
    cents: new Uint32Array(packets),
    ads: new Uint16Array(packets),
    checksums: new Uint8Array(packets * CHECKSUM_BYTES),
    valid: new Uint8Array(packets).fill(1),
  };
}

export class TokenBulk {
  private readonly scope: TokenScope;
  private readonly gcm: GcmBatch;
  /** The nonce's first eight bytes, as two words. */
  private readonly prefix: readonly [number, number];
  private readonly plain = viewOf(new Uint8Array(SEALED_BYTES));

  constructor(key: Uint8Array, scope: TokenScope) {
    this.scope = scope;
    this.gcm = new GcmBatch(key, tokenAad(scope.campaign, scope.mode));
    const nonce = viewOf(tokenNonce(scope, 0));
    this.prefix = [nonce.getUint32(0), nonce.getUint32(4)];
  }

  /** Seals the first `n` packets of `packets` into `out`, 45 bytes each. */
  seal(packets: PacketColumns, n: number, out: Buffer): void {
    invariant(n <= BULK_TOKENS_MAX && out.length >= n * TOKEN_BYTES, "a batch fits its buffers");
    const view = viewOf(out);
    const checksums = viewOf(packets.checksums);
    for (let i = 0; i < n; i++) this.write(packets, checksums, i, view, i * TOKEN_BYTES);
    this.gcm.begin(view, NONCE_AT, TOKEN_BYTES, n);
    for (let i = 0; i < n; i++) this.gcm.seal(i, view, i * TOKEN_BYTES + SEALED_AT);
  }

  /** Opens the first `n` tokens of `tokens` into `out`; `out.valid[i]` is 0 for whatever was not sealed here. */
  open(tokens: Buffer, n: number, out: PacketColumns): void {
    invariant(n <= BULK_TOKENS_MAX && tokens.length >= n * TOKEN_BYTES, "a batch fits its buffers");
    const view = viewOf(tokens);
    const checksums = viewOf(out.checksums);
    this.gcm.begin(view, NONCE_AT, TOKEN_BYTES, n);
    const { plain, prefix } = this;
    for (let i = 0; i < n; i++) {
      const at = i * TOKEN_BYTES;
      let difference = this.gcm.open(i, view, at + SEALED_AT, plain);
      difference |= view.getUint8(at) ^ TOKEN_HEADER;
      difference |= view.getUint32(at + NONCE_AT) ^ prefix[0];
      difference |= view.getUint32(at + NONCE_AT + 4) ^ prefix[1];
      const serial = plain.getUint32(0);
      const sameSerial = serial === view.getUint32(at + NONCE_AT + 8);
      const ok = difference === 0 && sameSerial && serial < this.scope.packets;
      out.valid[i] = ok ? 1 : 0;
      out.serials[i] = ok ? serial : 0;
      out.cents[i] = ok ? plain.getUint32(4) : 0;
      out.ads[i] = ok ? plain.getUint16(8) : 0;
      checksums.setUint16(i * CHECKSUM_BYTES, ok ? plain.getUint16(10) : 0);
      checksums.setUint32(i * CHECKSUM_BYTES + 2, ok ? plain.getUint32(12) : 0);
    }
  }

  /** Header, nonce and plaintext of packet `i`, to be encrypted in place. */
  private write(packets: PacketColumns, checksums: DataView, i: number, out: DataView, at: number): void {
    const serial = entry(packets.serials, i);
    invariant(serial < this.scope.packets, "a serial is below its shard's count");
    out.setUint8(at, TOKEN_HEADER);
    out.setUint32(at + NONCE_AT, this.prefix[0]);
    out.setUint32(at + NONCE_AT + 4, this.prefix[1]);
    out.setUint32(at + NONCE_AT + 8, serial);
    out.setUint32(at + SEALED_AT, serial);
    out.setUint32(at + SEALED_AT + 4, entry(packets.cents, i));
    out.setUint16(at + SEALED_AT + 8, entry(packets.ads, i));
    out.setUint16(at + SEALED_AT + 10, checksums.getUint16(i * CHECKSUM_BYTES));
    out.setUint32(at + SEALED_AT + 12, checksums.getUint32(i * CHECKSUM_BYTES + 2));
  }
}

/** Settlement checksums of the first `n` packets, written into `packets.checksums`. */
export function fillChecksums(key: Uint8Array, packets: PacketColumns, n: number, scope: TokenScope): void {
  const blocks = checksumBlocks(key, packets, n, scope);
  for (let i = 0; i < n; i++)
    for (let b = 0; b < CHECKSUM_BYTES; b++)
      packets.checksums[i * CHECKSUM_BYTES + b] = entry(blocks, i * 16 + b);
}

/** @returns for each of the first `n` packets 1 if its checksum is the settlement key's, else 0. */
export function checkChecksums(
  key: Uint8Array,
  packets: PacketColumns,
  n: number,
  scope: TokenScope,
): Uint8Array {
  const blocks = checksumBlocks(key, packets, n, scope);
  const holds = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    let difference = 0;
    for (let b = 0; b < CHECKSUM_BYTES; b++)
      difference |= entry(blocks, i * 16 + b) ^ entry(packets.checksums, i * CHECKSUM_BYTES + b);
    holds[i] = difference === 0 ? 1 : 0;
  }
  return holds;
}

function checksumBlocks(key: Uint8Array, packets: PacketColumns, n: number, scope: TokenScope): Buffer {
  const blocks = Buffer.allocUnsafe(n * 16);
  const { epoch, shard } = scope;
  const packet: { -readonly [K in keyof Settled]: Settled[K] } = { epoch, shard, serial: 0, cents: 0, ad: 0 };
  for (let i = 0; i < n; i++) {
    packet.serial = entry(packets.serials, i);
    packet.cents = entry(packets.cents, i);
    packet.ad = entry(packets.ads, i);
    writeBlock(blocks, i * 16, packet);
  }
  return encryptBlocks(key, blocks);
}

/** An entry of a column. A column shorter than its batch would otherwise be read as zeros: packets of no cents. */
function entry(column: Uint32Array | Uint16Array | Uint8Array, at: number): number {
  const value = column[at];
  invariant(value !== undefined, "a column is as long as its batch");
  return value;
}
