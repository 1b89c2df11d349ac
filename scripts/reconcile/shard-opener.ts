/**
 * Opens many tokens of one shard for finance: the seal under the shard's key *and* the checksum under the
 * settlement key. Only what passes both is a packet; what passes the first alone was made by whoever holds a
 * node's key, and is a forgery.
 */
import { type KeyFile, keyBytes } from "../../core/format/keyfile.ts";
import { shardKey, shardKeys } from "../../core/format/keyring.ts";
import type { TokenScope } from "../../core/format/token.ts";
import {
  BULK_TOKENS_MAX,
  checkChecksums,
  type PacketColumns,
  packetColumns,
  TokenBulk,
} from "../../core/format/token-bulk.ts";

type Verdict = "genuine" | "forged" | "unknown";

export interface OpenedTokens {
  readonly columns: PacketColumns;
  verdict(i: number): Verdict;
}

/** Tokens in one call. */
export const OPEN_MAX = BULK_TOKENS_MAX;

export class ShardOpener {
  private readonly scope: TokenScope;
  private readonly bulk: TokenBulk;
  private readonly settlement: Uint8Array;
  private readonly columns = packetColumns(OPEN_MAX);

  constructor(keys: KeyFile<"settlement">, scope: TokenScope) {
    this.scope = scope;
    this.bulk = new TokenBulk(shardKeys(shardKey(keyBytes(keys.tokenRoot), scope.shard)).token, scope);
    this.settlement = keyBytes(keys.settlementKey);
  }

  /** Opens the first `n` tokens of `tokens`, 45 bytes each. The answer is valid until the next call. */
  open(tokens: Buffer, n: number): OpenedTokens {
    const { columns } = this;
    this.bulk.open(tokens, n, columns);
    const holds = checkChecksums(this.settlement, columns, n, this.scope);
    return {
      columns,
      verdict: (i) => (columns.valid[i] !== 1 ? "unknown" : holds[i] === 1 ? "genuine" : "forged"),
    };
  }
}
