/**
 * A growing big-endian byte string and its reader: the one way in which frames, passes and batches are laid
 * out. The reader never runs past its end: a short input is a `RangeError`, which every codec turns into its
 * own refusal.
 */

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder("utf-8", { fatal: true });

export class ByteWriter {
  private buffer: Buffer;
  private used = 0;

  constructor(capacityBytes = 256) {
    this.buffer = Buffer.allocUnsafe(capacityBytes);
  }

  u8(value: number): this {
    this.reserve(1);
    this.used = this.buffer.writeUInt8(value, this.used);
    return this;
  }

  u16(value: number): this {
    this.reserve(2);
    this.used = this.buffer.writeUInt16BE(value, this.used);
    return this;
  }

  u32(value: number): this {
    this.reserve(4);
    this.used = this.buffer.writeUInt32BE(value, this.used);
    return this;
  }

  /** A safe integer in eight bytes (file offsets, milliseconds). */
  u64(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is not a safe integer`);
    return this.u32(Math.floor(value / 0x1_0000_0000)).u32(value % 0x1_0000_0000);
  }

  bytes(value: Uint8Array): this {
    this.reserve(value.length);
    this.buffer.set(value, this.used);
    this.used += value.length;
    return this;
  }

  /** UTF-8 behind a two-byte length: unambiguous when several follow each other. */
  text(value: string): this {
    const encoded = utf8Encoder.encode(value);
    return this.u16(encoded.length).bytes(encoded);
  }

  get length(): number {
    return this.used;
  }

  /** @returns the bytes written so far, as a view: do not write on afterwards. */
  done(): Buffer {
    return this.buffer.subarray(0, this.used);
  }

  private reserve(more: number): void {
    if (this.used + more <= this.buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.used + more));
    this.buffer.copy(grown, 0, 0, this.used);
    this.buffer = grown;
  }
}

export class ByteReader {
  private readonly buffer: Buffer;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.buffer.readUInt8(this.advance(1));
  }

  u16(): number {
    return this.buffer.readUInt16BE(this.advance(2));
  }

  u32(): number {
    return this.buffer.readUInt32BE(this.advance(4));
  }

  u64(): number {
    const value = this.u32() * 0x1_0000_0000 + this.u32();
    if (!Number.isSafeInteger(value)) throw new RangeError("an integer exceeds 2^53");
    return value;
  }

  /** @returns a view into the input, not a copy. */
  bytes(length: number): Buffer {
    const from = this.advance(length);
    return this.buffer.subarray(from, from + length);
  }

  text(): string {
    return utf8Decoder.decode(this.bytes(this.u16()));
  }

  get left(): number {
    return this.buffer.length - this.at;
  }

  /** Refuses trailing bytes: one value has one encoding. */
  end(): void {
    if (this.left !== 0) throw new RangeError(`${this.left} bytes too many`);
  }

  private advance(length: number): number {
    if (length > this.left) throw new RangeError(`${length - this.left} bytes missing`);
    const from = this.at;
    this.at += length;
    return from;
  }
}
