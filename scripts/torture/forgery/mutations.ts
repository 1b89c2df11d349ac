/**
 * Ways in which a token can be made of others by somebody without keys, or with keys of somewhere else. What comes
 * out must not be a token of the shard, unless it happens to be one that it was made of.
 */
import {
  decodeToken,
  encodeToken,
  NONCE_AT,
  SEALED_AT,
  SEALED_BYTES,
  TOKEN_BYTES,
  TOKEN_HEADER,
} from "../../../core/format/token.ts";
import type { SeededRandom } from "../random.ts";

const TAG_AT = SEALED_AT + SEALED_BYTES;
const PREFIX_BYTES = 8;
const SERIAL_AT = NONCE_AT + PREFIX_BYTES;
const CENTS_AT = SEALED_AT + 4;
const FLIPS_MAX = 12;

export interface Pool {
  /** Genuine tokens of the shard. */
  readonly own: readonly Buffer[];
  /** Tokens that are genuine elsewhere, or sealed under the shard's own key for elsewhere. */
  readonly foreign: readonly Buffer[];
}

type Mutation = (token: Buffer, pool: Pool, random: SeededRandom) => void;

/** In place, on a copy of a genuine token. */
export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  "random bytes": (token, _pool, random) => token.set(random.bytes(TOKEN_BYTES)),
  "random behind a genuine nonce": (token, _pool, random) =>
    token.set(random.bytes(TOKEN_BYTES - SEALED_AT), SEALED_AT),
  "random tag": (token, _pool, random) => token.set(random.bytes(TOKEN_BYTES - TAG_AT), TAG_AT),
  "flipped bits": (token, _pool, random) => {
    for (let flips = 1 + random.below(FLIPS_MAX); flips > 0; flips--)
      flipBit(token, random.below(token.length * 8));
  },
  "one byte": (token, _pool, random) => {
    const at = random.below(TOKEN_BYTES);
    token[at] = (token[at] ?? 0) ^ (1 + random.below(255));
  },
  "swapped fields": (token, { own }, random) => {
    random.pick(own).copy(token, NONCE_AT, NONCE_AT, SEALED_AT);
    random.pick(own).copy(token, SEALED_AT, SEALED_AT, TAG_AT);
    random.pick(own).copy(token, TAG_AT, TAG_AT, TOKEN_BYTES);
  },
  "another serial": (token, { own }, random) => {
    random.pick(own).copy(token, SERIAL_AT, SERIAL_AT, SEALED_AT);
  },
  "another campaign, epoch or shard": (token, _pool, random) => {
    const at = NONCE_AT + random.below(PREFIX_BYTES);
    token[at] = random.below(256);
  },
  "another version": (token, _pool, random) => {
    token[0] = random.below(256);
  },
  "a larger amount": (token, _pool, random) => {
    token.writeUInt32BE((token.readUInt32BE(CENTS_AT) ^ (1 << random.below(31))) >>> 0, CENTS_AT);
  },
  "genuine elsewhere": (token, { foreign }, random) => {
    token.set(random.pick(foreign));
  },
  "genuine elsewhere, renamed": (token, { own, foreign }, random) => {
    token.set(random.pick(foreign));
    token[0] = TOKEN_HEADER;
    const upTo = random.chance(0.5) ? SEALED_AT : SERIAL_AT;
    random.pick(own).copy(token, NONCE_AT, NONCE_AT, upTo);
  },
};

type Respelling = (text: string, random: SeededRandom) => string;

/** Other texts for a token, only for those who read texts. */
export const RESPELLINGS: Readonly<Record<string, Respelling>> = {
  "the other alphabet": (text, random) =>
    /[-_]/.test(text)
      ? text.replaceAll("-", "+").replaceAll("_", "/")
      : replaceAt(text, random.below(text.length), random.pick(["+", "/"])),
  padding: (text, random) => text + "=".repeat(1 + random.below(4)),
  "white space": (text, random) => {
    const at = random.below(text.length + 1);
    return (
      text.slice(0, at) + random.pick([" ", "\t", "\n", "\r\n", "\u00a0", "\u200b", "\0"]) + text.slice(at)
    );
  },
  "another character": (text, random) =>
    replaceAt(
      text,
      random.below(text.length),
      random.pick(["*", ".", "%41", "\u0430", "\uff21", "\u{1d400}"]),
    ),
  "the other case": (text, random) =>
    [...text]
      .map((one) =>
        random.chance(0.5) ? one : one === one.toLowerCase() ? one.toUpperCase() : one.toLowerCase(),
      )
      .join(""),
  truncated: (text, random) => text.slice(0, random.below(text.length)),
  "without its beginning": (text, random) => text.slice(1 + random.below(text.length - 1)),
  extended: (text, random) => text + Buffer.from(random.bytes(1 + random.below(6))).toString("base64url"),
  doubled: (text) => text + text,
  "another encoding": (text, random) => {
    const bytes = Buffer.from(text, "base64url");
    return bytes.toString(random.pick(["hex", "latin1", "utf16le"] as const));
  },
};

/** Every token that differs from `token` in one bit. */
export function* oneBitAway(token: Buffer): Generator<Buffer> {
  for (let bit = 0; bit < token.length * 8; bit++) {
    const other = Buffer.from(token);
    flipBit(other, bit);
    yield other;
  }
}

/** The texts of genuine tokens: what a mutation may happen to be. */
export class Genuine {
  private readonly texts: ReadonlySet<string>;

  constructor(tokens: readonly Uint8Array[]) {
    this.texts = new Set(tokens.map(encodeToken));
  }

  has(text: string): boolean {
    return this.texts.has(text) && decodeToken(text) !== undefined;
  }
}

export function flipBit(bytes: Uint8Array, bit: number): void {
  bytes[bit >>> 3] = (bytes[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
}

function replaceAt(text: string, at: number, by: string): string {
  return text.slice(0, at) + by + text.slice(at + 1);
}
