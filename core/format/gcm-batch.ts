/**
 * AES-256-GCM (NIST SP 800-38D) for batches of one-block messages under one key and one AAD, with 96-bit nonces
 * and 128-bit tags: what sealing a million tokens needs, and nothing more.
 *
 * For such messages GCM is
 *
 *     C = P xor AES(nonce ‖ 2)        tag = C·H² xor K xor AES(nonce ‖ 1)
 *
 * where K folds AAD and lengths and is the same for all. So a batch is one native AES call over two counter
 * blocks a message, and one multiplication by H² each, done with 16 tables of 256 entries (Shoup's method). The
 * table is indexed by ciphertext, which is public: its access pattern tells nothing.
 */
import { createCipheriv } from "node:crypto";
import { invariant } from "./error.ts";

const MESSAGE_BYTES = 16;
export const BATCH_MESSAGES_MAX = 4096;
const NONCE_BYTES = 12;
/** Two counter blocks a message: the tag's mask first, then the message's. */
const STREAM_BYTES = 32;

export class GcmBatch {
  private readonly cipher: ReturnType<typeof createCipheriv>;
  private readonly table: Uint32Array;
  private readonly constant: Uint32Array;
  private readonly counters = Buffer.alloc(BATCH_MESSAGES_MAX * STREAM_BYTES);
  private readonly counterView = viewOf(this.counters);
  private stream = viewOf(new Uint8Array(0));
  private readonly tag = new Uint32Array(4);

  constructor(key: Uint8Array, aad: Uint8Array) {
    this.cipher = createCipheriv("aes-256-ecb", key, null).setAutoPadding(false);
    const h = words(this.cipher.update(Buffer.alloc(MESSAGE_BYTES)), 0);
    const h2 = multiply(h, h);
    this.table = productTable(h2);
    this.constant = foldConstants(h, h2, aad);
    for (let i = 0; i < BATCH_MESSAGES_MAX * 2; i++) this.counters.writeUInt32BE((i % 2) + 1, i * 16 + 12);
  }

  /** Makes the keystream of a batch. `nonces` holds `n` nonces, `stride` bytes apart, the first at `at`. */
  begin(nonces: DataView, at: number, stride: number, n: number): void {
    invariant(n <= BATCH_MESSAGES_MAX, "a batch is bounded");
    for (let i = 0; i < n; i++) {
      for (let w = 0; w < NONCE_BYTES; w += 4) {
        const word = nonces.getUint32(at + i * stride + w);
        this.counterView.setUint32(i * STREAM_BYTES + w, word);
        this.counterView.setUint32(i * STREAM_BYTES + 16 + w, word);
      }
    }
    this.stream = viewOf(this.cipher.update(this.counters.subarray(0, n * STREAM_BYTES)));
  }

  /** Encrypts message `i` of the batch in place at `at` and writes its tag behind it. */
  seal(i: number, bytes: DataView, at: number): void {
    this.mask(i, bytes, at, bytes, at);
    this.computeTag(i, bytes, at);
    for (let w = 0; w < 4; w++) bytes.setUint32(at + MESSAGE_BYTES + w * 4, word(this.tag, w));
  }

  /**
   * Decrypts message `i` of the batch from `bytes` at `at` (its tag behind it) into `plain`.
   * @returns 0 if the tag holds, else anything but 0: constant-time in the tag. Only then is `plain` to be used.
   */
  open(i: number, bytes: DataView, at: number, plain: DataView): number {
    this.computeTag(i, bytes, at);
    let difference = 0;
    for (let w = 0; w < 4; w++) difference |= word(this.tag, w) ^ bytes.getInt32(at + MESSAGE_BYTES + w * 4);
    this.mask(i, bytes, at, plain, 0);
    return difference;
  }

  private mask(i: number, from: DataView, at: number, to: DataView, toAt: number): void {
    const stream = i * STREAM_BYTES + 16;
    for (let w = 0; w < MESSAGE_BYTES; w += 4)
      to.setInt32(toAt + w, from.getInt32(at + w) ^ this.stream.getInt32(stream + w));
  }

  private computeTag(i: number, bytes: DataView, at: number): void {
    const { table, constant, stream } = this;
    const from = i * STREAM_BYTES;
    let z0 = word(constant, 0) ^ stream.getInt32(from);
    let z1 = word(constant, 1) ^ stream.getInt32(from + 4);
    let z2 = word(constant, 2) ^ stream.getInt32(from + 8);
    let z3 = word(constant, 3) ^ stream.getInt32(from + 12);
    for (let b = 0; b < MESSAGE_BYTES; b++) {
      const entry = (b << 10) | (bytes.getUint8(at + b) << 2);
      z0 ^= word(table, entry);
      z1 ^= word(table, entry + 1);
      z2 ^= word(table, entry + 2);
      z3 ^= word(table, entry + 3);
    }
    this.tag[0] = z0;
    this.tag[1] = z1;
    this.tag[2] = z2;
    this.tag[3] = z3;
  }
}

/** V8 compiles a DataView's accessors to single loads and stores; Buffer's are calls. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** One word of an array. A place outside of it is a bug here: V8 checks the bounds anyway, so asserting costs nothing. */
function word(of: Uint32Array, at: number): number {
  const value = of[at];
  invariant(value !== undefined, "a word lies in its array");
  return value;
}

/** An element of GF(2^128) in GCM's bit order: bit 0 is the most significant bit of word 0. */
type Element = readonly [number, number, number, number];

function words(bytes: Uint8Array, at: number): Element {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return [view.getUint32(at), view.getUint32(at + 4), view.getUint32(at + 8), view.getUint32(at + 12)];
}

/** x·y mod the GCM polynomial, bit by bit (SP 800-38D 6.3): some thousand times a key, never per message. */
function multiply(x: Element, y: Element): Element {
  let [z0, z1, z2, z3] = [0, 0, 0, 0];
  let [v0, v1, v2, v3] = y;
  for (const factor of x) {
    for (let bit = 31; bit >= 0; bit--) {
      if ((factor >>> bit) & 1) {
        z0 ^= v0;
        z1 ^= v1;
        z2 ^= v2;
        z3 ^= v3;
      }
      const carry = v3 & 1;
      v3 = (v3 >>> 1) | (v2 << 31);
      v2 = (v2 >>> 1) | (v1 << 31);
      v1 = (v1 >>> 1) | (v0 << 31);
      v0 = (v0 >>> 1) ^ (carry ? 0xe100_0000 : 0);
    }
  }
  return [z0 >>> 0, z1 >>> 0, z2 >>> 0, z3 >>> 0];
}

/** table[(byte position · 256 + byte value) · 4 …] = that byte at that position, times `factor`. */
function productTable(factor: Element): Uint32Array {
  const table = new Uint32Array(16 * 256 * 4);
  for (let position = 0; position < 16; position++) {
    for (let bit = 0; bit < 8; bit++) {
      const x: [number, number, number, number] = [0, 0, 0, 0];
      x[position >> 2] = ((1 << bit) << (24 - 8 * (position & 3))) >>> 0;
      table.set(multiply(x, factor), (position * 256 + (1 << bit)) * 4);
    }
    // Multiplication is linear: every other value is the sum of its bits.
    for (let value = 1; value < 256; value++) {
      const [low, rest] = [value & -value, value & (value - 1)];
      for (let w = 0; w < 4 && rest !== 0; w++)
        table[(position * 256 + value) * 4 + w] =
          word(table, (position * 256 + low) * 4 + w) ^ word(table, (position * 256 + rest) * 4 + w);
    }
  }
  return table;
}

/** K = GHASH of the AAD blocks carried through the ciphertext block (·H²), xor lengths·H. */
function foldConstants(h: Element, h2: Element, aad: Uint8Array): Uint32Array {
  const padded = new Uint8Array(Math.ceil(aad.length / 16) * 16);
  padded.set(aad);
  let state: Element = [0, 0, 0, 0];
  for (let at = 0; at < padded.length; at += 16) state = multiply(xor(state, words(padded, at)), h);
  const lengths: Element = [0, aad.length * 8, 0, MESSAGE_BYTES * 8];
  return Uint32Array.from(xor(multiply(state, h2), multiply(lengths, h)));
}

function xor(a: Element, b: Element): Element {
  return [(a[0] ^ b[0]) >>> 0, (a[1] ^ b[1]) >>> 0, (a[2] ^ b[2]) >>> 0, (a[3] ^ b[3]) >>> 0];
}
