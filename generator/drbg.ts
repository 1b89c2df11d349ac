/**
 * Every random choice of the mint: AES-256 in counter mode under the mint key, one stream a (purpose, shard,
 * ad). The same key and label give the same choices on every platform; without the key they tell nothing.
 *
 *     initial counter block    "hb" ‖ version u8 ‖ purpose u8 ‖ shard u16 ‖ ad u16 ‖ counter u64 from 0
 *
 * The counter has 64 bits of its own, so no stream ever runs into another. Bounded integers are unbiased
 * (rejection sampling), shuffles are Fisher-Yates: Durstenfeld 1964, Knuth TAOCP 3.4.2 algorithm P.
 */
import { createCipheriv } from "node:crypto";
import { ByteWriter } from "../core/format/bytes.ts";
import { invariant } from "../core/format/error.ts";

/** What a stream is drawn for. The numbers are part of the mint algorithm. */
export const PURPOSE = { serials: 1, amounts: 2, order: 3 } as const;

export interface StreamLabel {
  readonly purpose: (typeof PURPOSE)[keyof typeof PURPOSE];
  readonly shard: number;
  /** 0 for what concerns the whole shard */
  readonly ad: number;
}

const STREAM_VERSION = 1;
const CHUNK_BYTES = 16 * 1024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);

export class Drbg {
  private readonly cipher: ReturnType<typeof createCipheriv>;
  private chunk = new DataView(new ArrayBuffer(0));
  private at = 0;

  /** @param key 32 bytes: the mint key */
  constructor(key: Uint8Array, label: StreamLabel) {
    const counter = new ByteWriter(16)
      .bytes(Buffer.from("hb"))
      .u8(STREAM_VERSION)
      .u8(label.purpose)
      .u16(label.shard)
      .u16(label.ad)
      .u64(0)
      .done();
    this.cipher = createCipheriv("aes-256-ctr", key, counter);
  }

  /** @returns an integer below 2^32, uniform. */
  u32(): number {
    if (this.at === this.chunk.byteLength) this.refill();
    const value = this.chunk.getUint32(this.at);
    this.at += 4;
    return value;
  }

  /**
   * @param bound 1 to 2^32 - 1
   * @returns an integer in [0, bound), uniform: draws below 2^32 mod bound are drawn again
   */
  below(bound: number): number {
    invariant(Number.isInteger(bound) && bound >= 1 && bound <= 0xffff_ffff, "a bound is 1 to 2^32 - 1");
    for (;;) {
      const value = this.u32();
      // 2^32 mod bound is itself below bound: the second remainder is rarely needed.
      if (value >= bound || value >= (-bound >>> 0) % bound) return value % bound;
    }
  }

  /** Puts `values` into an order that is uniform over all orders. */
  shuffle(values: Uint32Array): void {
    for (let i = values.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const held = values[i] ?? 0;
      values[i] = values[j] ?? 0;
      values[j] = held;
    }
  }

  private refill(): void {
    const bytes = this.cipher.update(ZEROS);
    this.chunk = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }
}
