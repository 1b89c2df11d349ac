/**
 * Batches and acknowledgements that no node and no worker made: nonsense, genuine ones that were changed, and well-made
 * ones under every key but the right one.
 */
import {
  type Acknowledgement,
  batchHash,
  type ClaimBatch,
  decodeAck,
  decodeBatch,
  encodeAck,
  encodeBatch,
} from "../../../core/format/claim-batch.ts";
import { TOKEN_BYTES } from "../../../core/format/token.ts";
import type { SeededRandom } from "../random.ts";
import { flipBit } from "./mutations.ts";
import type { PutJob } from "./queue-hand.ts";

const OVERSIZED_BYTES = 1_500_000;

/** What a forger of papers has heard, and the keys that he has. */
export interface Heard {
  /** base64url */
  readonly batches: readonly string[];
  /** base64url */
  readonly acknowledgements: readonly string[];
  /** The wire keys of other shards and campaigns, and other keys of this shard. */
  readonly wrongKeys: readonly Uint8Array[];
  /** Only to read what was heard, so that the forgeries differ from it in nothing but the key. */
  readonly wireKey: Uint8Array;
}

export class FalsePapers {
  private readonly heard: Heard;
  private readonly random: SeededRandom;

  constructor(heard: Heard, random: SeededRandom) {
    this.heard = heard;
    this.random = random;
  }

  /** @returns a job, and the kind of forgery that it is */
  job(): PutJob & { readonly kind: string } {
    const make = this.random.pick<() => PutJob & { kind: string }>([
      () => ({ kind: "random bytes", data: { batch: text(this.random.bytes(this.random.below(600))) } }),
      () => ({ kind: "a flipped bit", data: { batch: this.flipped(this.heard.batches) } }),
      () => ({ kind: "a flipped bit", data: { batch: this.flipped(this.heard.batches) } }),
      () => ({ kind: "cut or extended", data: { batch: this.resized(this.heard.batches) } }),
      () => ({ kind: "another key", data: { batch: text(this.batch()) } }),
      () => ({ kind: "another key", data: { batch: text(this.batch()) } }),
      () => ({ kind: "an acknowledgement", data: { batch: this.random.pick(this.heard.acknowledgements) } }),
      () => ({ kind: "no batch", data: this.random.pick(NO_BATCHES) }),
      () => ({ kind: "another name", name: this.random.pick(["", "claim", "__proto__"]), data: {} }),
    ]);
    return make();
  }

  /** Larger than anything a node sends: a few of them are enough. */
  oversized(): PutJob {
    return { data: { batch: text(Buffer.alloc(OVERSIZED_BYTES, this.random.below(256))) } };
  }

  /** @returns the return value of a completed event, as the text that stands in Redis */
  acknowledgement(): { readonly kind: string; readonly value: string } {
    const make = this.random.pick<() => { kind: string; value: string }>([
      () => ({
        kind: "random bytes",
        value: JSON.stringify(text(this.random.bytes(this.random.below(300)))),
      }),
      () => ({ kind: "a flipped bit", value: JSON.stringify(this.flipped(this.heard.acknowledgements)) }),
      () => ({ kind: "cut or extended", value: JSON.stringify(this.resized(this.heard.acknowledgements)) }),
      () => ({ kind: "another key", value: JSON.stringify(text(this.ack(this.wrongKey(), {}))) }),
      () => ({ kind: "another range, another key", value: this.everythingSettled(this.wrongKey()) }),
      // With the right key an acknowledgement must still answer a batch that the node has sent.
      () => ({ kind: "another range", value: this.everythingSettled(this.heard.wireKey) }),
      () => ({ kind: "another batch", value: this.ofNoBatch() }),
      () => ({ kind: "a batch", value: JSON.stringify(this.random.pick(this.heard.batches)) }),
      () => ({
        kind: "no text",
        value: this.random.pick(["null", "0", "{}", "[]", '{"a":"b"}', "true", '""']),
      }),
    ]);
    return make();
  }

  /** Whether a batch that was heard carries claims: others only ask which ledger is there. */
  hasClaims(batch: string): boolean {
    return (decodeBatch(this.heard.wireKey, bytes(batch))?.claims.length ?? 0) > 0;
  }

  /** Everything that the node waits to hear about a batch on its way, under every key but the right one. */
  answersTo(batch: string): string[] {
    const sent = decodeBatch(this.heard.wireKey, bytes(batch));
    if (sent === undefined) return [];
    const { forLedger: ledgerId, to: settledUpTo } = sent;
    const hash = batchHash(bytes(batch));
    const ack = { ...sent, ledgerId, settledUpTo, batchHash: hash, standing: "own-journal" as const };
    return [...this.heard.wrongKeys, new Uint8Array(32)].map((key) =>
      JSON.stringify(text(encodeAck(key, ack))),
    );
  }

  private everythingSettled(key: Uint8Array): string {
    const to = 2 ** 40 + this.random.below(2 ** 30);
    return JSON.stringify(text(this.ack(key, { to, settledUpTo: to, ledgerId: this.random.bytes(16) })));
  }

  private ofNoBatch(): string {
    const ledgerId = this.random.bytes(16);
    return JSON.stringify(text(this.ack(this.heard.wireKey, { batchHash: this.random.bytes(32), ledgerId })));
  }

  /** One that was heard, or one with somebody else's tokens and names, under a key that is not the shard's. */
  private batch(): Buffer {
    const genuine = decodeBatch(this.heard.wireKey, bytes(this.random.pick(this.heard.batches)));
    if (genuine === undefined) throw new Error("what was heard is no batch");
    const batch: ClaimBatch = this.random.chance(0.5)
      ? genuine
      : {
          ...genuine,
          claims: genuine.claims.map((claim) => ({ ...claim, user: "mallory", device: "phone" })),
        };
    const invented = { token: this.random.bytes(TOKEN_BYTES), user: "mallory", device: "phone", atMs: 0 };
    const claims = this.random.chance(0.3) ? [...batch.claims, invented] : batch.claims;
    return encodeBatch(this.wrongKey(), { ...batch, claims });
  }

  private ack(key: Uint8Array, bend: Partial<Acknowledgement>): Buffer {
    const genuine = decodeAck(this.heard.wireKey, bytes(this.random.pick(this.heard.acknowledgements)));
    if (genuine === undefined) throw new Error("what was heard is no acknowledgement");
    return encodeAck(key, { ...genuine, ...bend });
  }

  private wrongKey(): Uint8Array {
    return this.random.pick([...this.heard.wrongKeys, this.random.bytes(32)]);
  }

  private flipped(from: readonly string[]): string {
    const changed = bytes(this.random.pick(from));
    flipBit(changed, this.random.below(changed.length * 8));
    return text(changed);
  }

  private resized(from: readonly string[]): string {
    const genuine = bytes(this.random.pick(from));
    if (this.random.chance(0.5)) return text(genuine.subarray(0, this.random.below(genuine.length)));
    return text(Buffer.concat([genuine, this.random.bytes(1 + this.random.below(80))]));
  }
}

const NO_BATCHES: readonly unknown[] = [
  {},
  [],
  null,
  7,
  "batch",
  { batch: null },
  { batch: 7 },
  { batch: ["AQ"] },
  { batch: { batch: "AQ" } },
  { batch: "" },
  { batch: "not base64url!" },
  { batch: "AQ==" },
  { batch: "\u{1f9e7}" },
  { Batch: "AQ" },
];

function bytes(base64url: string): Buffer {
  return Buffer.from(base64url, "base64url");
}

function text(of: Uint8Array): string {
  return Buffer.from(of).toString("base64url");
}
