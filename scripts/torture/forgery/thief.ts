/**
 * Somebody with a stolen node key file: he derives what the node derives, seals tokens of any amount, makes passes for
 * them, and signs batches as the node would. He does not have the settlement key.
 */
import { gcm } from "@noble/ciphers/aes.js";
import type { Claim } from "../../../core/format/claim.ts";
import { type BatchRange, encodeBatch } from "../../../core/format/claim-batch.ts";
import { sealPass } from "../../../core/format/pass.ts";
import {
  CHECKSUM_BYTES,
  encodeToken,
  SEALED_AT,
  TOKEN_BYTES,
  TOKEN_HEADER,
  tokenAad,
  tokenNonce,
} from "../../../core/format/token.ts";
import { type PacketColumns, packetColumns, TokenBulk } from "../../../core/format/token-bulk.ts";
import type { SeededRandom } from "../random.ts";
import type { NodeLoot } from "./loot.ts";

export interface Opening {
  readonly token: string;
  readonly user: string;
  readonly device: string;
  readonly pass: string;
}

export class Thief {
  readonly loot: NodeLoot;
  private readonly random: SeededRandom;
  private readonly bulk: TokenBulk;
  private readonly ads: readonly number[];

  constructor(loot: NodeLoot, random: SeededRandom) {
    this.loot = loot;
    this.random = random;
    this.bulk = new TokenBulk(loot.keys.token, loot.scope);
    this.ads = loot.file.manifest.ads.map(({ id }) => id);
  }

  /** Tokens with genuine serials, invented amounts and a guessed checksum, one a serial. */
  seal(serials: readonly number[]): Buffer[] {
    const columns: PacketColumns = packetColumns(serials.length);
    for (const [i, serial] of serials.entries()) {
      columns.serials[i] = serial;
      columns.cents[i] = 1 + this.random.below(20_000);
      columns.ads[i] = this.random.pick(this.ads);
    }
    columns.checksums.set(this.random.bytes(serials.length * CHECKSUM_BYTES));
    const tokens = Buffer.alloc(serials.length * TOKEN_BYTES);
    this.bulk.seal(columns, serials.length, tokens);
    return serials.map((_, i) => tokens.subarray(i * TOKEN_BYTES, (i + 1) * TOKEN_BYTES));
  }

  /** What a genuine token seals, sealed again as the token of another serial; `named`: the text says that serial too. */
  reseal(genuine: Buffer, serial: number, named: boolean): Buffer {
    const { keys, scope } = this.loot;
    const aad = tokenAad(scope.campaign, scope.mode);
    const plaintext = gcm(keys.token, genuine.subarray(1, SEALED_AT), aad).decrypt(
      genuine.subarray(SEALED_AT),
    );
    if (named) Buffer.from(plaintext.buffer, plaintext.byteOffset).writeUInt32BE(serial);
    const nonce = tokenNonce(scope, serial);
    return Buffer.concat([
      Uint8Array.of(TOKEN_HEADER),
      nonce,
      gcm(keys.token, nonce, aad).encrypt(plaintext),
    ]);
  }

  /** A token with the pass that the node would have given with it. */
  opening(token: Buffer, user: string): Opening {
    const { keys, quotaKey, scope } = this.loot;
    const holder = { user, device: "thief's phone" };
    const packet = { epoch: scope.epoch, shard: scope.shard, serial: token.readUInt32BE(SEALED_AT - 4) };
    const pass = sealPass({ receipt: keys.receipt, quota: quotaKey }, holder, { packet, won: [] });
    return { token: encodeToken(token), ...holder, pass };
  }

  /** A batch that nothing tells from one of the node's own. */
  batch(range: BatchRange, ledgerId: Uint8Array, claims: readonly Claim[]): Buffer {
    return encodeBatch(this.loot.keys.wire, { ...range, forLedger: ledgerId, claims });
  }
}
