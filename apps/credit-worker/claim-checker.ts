/**
 * Opens the tokens of claims and says which are money: the one place outside the mint that can. Trusts the
 * manifest and the settlement key file, nothing else: not the node that forwards a claim, nor its keys.
 *
 * A token that opens under the shard's token key but fails its settlement checksum was sealed by somebody who
 * holds a node's key: "checksum" in a refusal means that a node key is stolen.
 */
import type { Claim } from "../../core/format/claim.ts";
import { BATCH_CLAIMS_MAX } from "../../core/format/claim-batch.ts";
import { invariant } from "../../core/format/error.ts";
import { type KeyFile, keyBytes } from "../../core/format/keyfile.ts";
import { type ShardKeys, shardKey, shardKeys } from "../../core/format/keyring.ts";
import { type Manifest, type ManifestShard, shardScope } from "../../core/format/manifest.ts";
import { campaignTag, readTokenNonce, TOKEN_BYTES } from "../../core/format/token.ts";
import { checkChecksums, packetColumns, TokenBulk } from "../../core/format/token-bulk.ts";
import type { CheckedClaim, RefusedClaim } from "../../core/store/ledger-claim.ts";

/** The contract's bound on `user` and `device`. */
const IDENTITY_BYTES_MAX = 128;
/** Tables of one shard's key take about 200 KiB. */
const OPENERS_MAX = 256;

export class ClaimChecker {
  private readonly manifest: Manifest;
  private readonly tag: number;
  private readonly tokenRoot: Buffer;
  private readonly settlementKey: Buffer;
  private readonly keys = new Map<number, ShardKeys>();
  private readonly openers = new Map<number, TokenBulk>();
  private readonly opened = packetColumns(BATCH_CLAIMS_MAX);

  constructor(manifest: Manifest, settlement: KeyFile<"settlement">) {
    this.manifest = manifest;
    this.tag = campaignTag(manifest.campaign);
    this.tokenRoot = keyBytes(settlement.tokenRoot);
    this.settlementKey = keyBytes(settlement.settlementKey);
  }

  /** True for a range of this mint: its campaign, epoch, and a shard that exists. */
  covers(range: { campaignTag: number; epoch: number; shard: number }): boolean {
    const { manifest, tag } = this;
    return (
      range.campaignTag === tag && range.epoch === manifest.epoch && range.shard < manifest.shards.length
    );
  }

  /** The key under which this shard's batches and acknowledgements are authentic. */
  wireKey(shard: number): Uint8Array {
    return this.keysOf(shard).wire;
  }

  /** @param claims at most a batch of them, all forwarded by this shard's node */
  check(shard: number, claims: readonly Claim[]): CheckedClaim[] {
    const place = this.manifest.shards[shard];
    invariant(place !== undefined && claims.length <= BATCH_CLAIMS_MAX, "a batch of a known shard");
    const { opened } = this;
    const tokens = Buffer.allocUnsafe(claims.length * TOKEN_BYTES);
    for (const [i, claim] of claims.entries()) tokens.set(claim.token, i * TOKEN_BYTES);
    this.opener(place).open(tokens, claims.length, opened);
    const scope = shardScope(this.manifest, place);
    const holds = checkChecksums(this.settlementKey, opened, claims.length, scope);
    return claims.map((claim, i) => {
      const refusal =
        this.refusal(place, claim, opened.valid[i] === 1, holds[i] === 1) ??
        amountRefusal(place, claim, opened.cents[i] ?? 0, opened.ads[i] ?? 0);
      if (refusal) return refusal;
      const [serial, cents, ad] = [opened.serials[i] ?? 0, opened.cents[i] ?? 0, opened.ads[i] ?? 0];
      return { verdict: "authentic", claim, serial, cents, ad };
    });
  }

  private refusal(
    place: ManifestShard,
    claim: Claim,
    opens: boolean,
    checksumHolds: boolean,
  ): RefusedClaim | undefined {
    const named = readTokenNonce(claim.token);
    if (!this.covers(named) || named.shard !== place.shard) return refused(claim, "forged", "scope");
    if (named.serial >= place.packets) return refused(claim, "unknown-token", "serial");
    if (!opens) return refused(claim, "forged", "token");
    if (!checksumHolds) return refused(claim, "forged", "checksum");
    if (!isIdentity(claim.user) || !isIdentity(claim.device)) return refused(claim, "forged", "identity");
    return undefined;
  }

  private keysOf(shard: number): ShardKeys {
    const known = this.keys.get(shard);
    if (known) return known;
    const keys = shardKeys(shardKey(this.tokenRoot, shard));
    this.keys.set(shard, keys);
    return keys;
  }

  private opener(place: ManifestShard): TokenBulk {
    const known = this.openers.get(place.shard);
    if (known) return known;
    const [oldest] = this.openers.keys();
    if (oldest !== undefined && this.openers.size >= OPENERS_MAX) this.openers.delete(oldest);
    const opener = new TokenBulk(this.keysOf(place.shard).token, shardScope(this.manifest, place));
    this.openers.set(place.shard, opener);
    return opener;
  }
}

/** A genuine token whose ad or amount its shard cannot hold: the settlement key itself is abused. */
function amountRefusal(
  place: ManifestShard,
  claim: Claim,
  cents: number,
  ad: number,
): RefusedClaim | undefined {
  const lane = place.lanes.find((each) => each.ad === ad);
  if (lane === undefined) return refused(claim, "forged", "ad");
  return cents === 0 || cents > lane.cents ? refused(claim, "forged", "amount") : undefined;
}

function refused(claim: Claim, reason: RefusedClaim["reason"], detail: string): RefusedClaim {
  return { verdict: "refused", claim, reason, detail };
}

function isIdentity(text: string): boolean {
  return text.length > 0 && Buffer.byteLength(text) <= IDENTITY_BYTES_MAX;
}
