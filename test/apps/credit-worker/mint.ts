/**
 * A small mint for tests: real keys, real tokens, a real signed manifest. Amount and ad follow from the serial,
 * so a test can say what every packet is worth without opening it.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { settlementChecksum } from "../../../core/format/checksum.ts";
import type { Claim } from "../../../core/format/claim.ts";
import { ANY_LEDGER, type ClaimBatch, encodeBatch } from "../../../core/format/claim-batch.ts";
import { type KeyFile, keyText } from "../../../core/format/keyfile.ts";
import {
  type MintIdentity,
  settlementKey,
  shardKey,
  shardKeys,
  tokenRootKey,
} from "../../../core/format/keyring.ts";
import { encodeManifest, type Manifest, manifestHash } from "../../../core/format/manifest.ts";
import { seedLayout } from "../../../core/format/seedfile.ts";
import { newSigningKey, signManifest } from "../../../core/format/signature.ts";
import { campaignTag, sealToken } from "../../../core/format/token.ts";
import { CampaignDir, type Roots } from "../../../core/store/campaign-dir.ts";
import { publish } from "../../../core/store/durable.ts";
import { createKeyFile } from "../../../core/store/keystore.ts";
import type { AuthenticClaim } from "../../../core/store/ledger-claim.ts";
import type { ManifestFile } from "../../../core/store/manifest-file.ts";

export interface MintOptions {
  readonly campaign?: string;
  readonly mode?: "test" | "live";
  readonly epoch?: number;
  readonly shards?: number;
  /** Packets of each of the two lanes (ads 1 and 2) of each shard. */
  readonly lanePackets?: number;
  readonly quota?: { perUser: number; perAd: number };
  readonly master?: Uint8Array;
}

export class Mint {
  readonly file: ManifestFile;
  readonly manifest: Manifest;
  readonly settlement: KeyFile<"settlement">;
  private readonly identity: MintIdentity;
  private readonly operator = newSigningKey();
  private readonly root: Uint8Array;
  private readonly settlementKey: Uint8Array;
  private readonly lanePackets: number;

  constructor(options: MintOptions = {}) {
    const { campaign = "gala-test", mode = "test", epoch = 1, lanePackets = 50 } = options;
    this.lanePackets = lanePackets;
    const planHash = createHash("sha256")
      .update(JSON.stringify({ ...options, master: "" }))
      .digest();
    this.identity = { campaign, mode, epoch, planHash };
    const master = options.master ?? new Uint8Array(32).fill(7);
    this.root = tokenRootKey(master, this.identity);
    this.settlementKey = settlementKey(master, this.identity);
    this.manifest = makeManifest(options, this.identity, (serial) => this.cents(serial));
    const bytes = encodeManifest(this.manifest);
    this.file = { manifest: this.manifest, bytes, hash: manifestHash(bytes) };
    this.settlement = {
      format: "hongbao.settlement-key.v1",
      campaign,
      mode,
      epoch,
      planHash: keyText(planHash),
      settlementKey: keyText(this.settlementKey),
      tokenRoot: keyText(this.root),
      publicKeys: { operator: this.operator.publicKey },
    };
  }

  cents(serial: number): number {
    return 1 + ((serial * 37) % 500);
  }

  ad(serial: number): number {
    return serial < this.lanePackets ? 1 : 2;
  }

  keys(shard: number) {
    return shardKeys(shardKey(this.root, shard));
  }

  /** A token as the mint seals it; `bend` changes what is sealed, `settlement` the key of the checksum. */
  token(
    shard: number,
    serial: number,
    bend: { cents?: number; ad?: number; settlement?: Uint8Array; packets?: number } = {},
  ): Uint8Array {
    const { campaign, mode, epoch } = this.identity;
    const packet = { serial, cents: bend.cents ?? this.cents(serial), ad: bend.ad ?? this.ad(serial) };
    const key = bend.settlement ?? this.settlementKey;
    const checksum = settlementChecksum(key, { ...packet, epoch, shard });
    const scope = { campaign, mode, epoch, shard, packets: bend.packets ?? this.lanePackets * 2 };
    return sealToken(this.keys(shard).token, scope, { ...packet, checksum });
  }

  claim(shard: number, serial: number, user: string, device = `${user}-phone`): Claim {
    return { token: this.token(shard, serial), user, device, atMs: 1_800_000_000_000 + serial };
  }

  /** The claim as the checker would hand it to the ledger, its token not really sealed (cheap). */
  checked(shard: number, serial: number, user: string, device = `${user}-phone`): AuthenticClaim {
    const token = Buffer.alloc(45);
    token.writeUInt32BE(campaignTag(this.identity.campaign), 1);
    token.writeUInt16BE(this.identity.epoch, 5);
    token.writeUInt16BE(shard, 7);
    token.writeUInt32BE(serial, 9);
    const claim = { token, user, device, atMs: 1_800_000_000_000 + serial };
    return { verdict: "authentic", claim, serial, cents: this.cents(serial), ad: this.ad(serial) };
  }

  batch(shard: number, claims: readonly Claim[], bend: Partial<ClaimBatch> = {}): Buffer {
    return encodeBatch(this.keys(shard).wire, {
      campaignTag: campaignTag(this.identity.campaign),
      epoch: this.identity.epoch,
      shard,
      journalId: journalId(shard),
      from: 0,
      to: 1000,
      forLedger: ANY_LEDGER,
      claims,
      ...bend,
    });
  }

  /** Publishes what a worker reads: manifest, the operator's signature, settlement.key. */
  async publish(roots: Roots): Promise<void> {
    const epoch = new CampaignDir(roots, this.manifest.campaign).epoch(this.manifest.epoch);
    await publish(epoch.manifest, this.file.bytes);
    await publish(epoch.signature("operator"), signManifest(this.operator, this.file.bytes));
    await createKeyFile<"settlement">(epoch.settlementKey, this.settlement);
  }
}

export function rootsIn(dir: string): Roots {
  return { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
}

export function journalId(shard: number): Buffer {
  return Buffer.alloc(16, shard + 1);
}

function makeManifest(
  options: MintOptions,
  mint: MintIdentity,
  centsOf: (serial: number) => number,
): Manifest {
  const { shards = 1, lanePackets = 50, quota = { perUser: 3, perAd: 1 } } = options;
  const lane = (ad: number) => {
    const serials = Array.from({ length: lanePackets }, (_, i) => i + (ad - 1) * lanePackets);
    return { ad, packets: lanePackets, cents: serials.reduce((sum, serial) => sum + centsOf(serial), 0) };
  };
  const lanes = [lane(1), lane(2)];
  const total = (of: readonly { packets: number; cents: number }[], times = 1) => ({
    packets: of.reduce((sum, each) => sum + each.packets, 0) * times,
    cents: of.reduce((sum, each) => sum + each.cents, 0) * times,
  });
  const { packets, cents } = total(lanes, shards);
  return {
    format: "hongbao.manifest.v1",
    campaign: mint.campaign,
    mode: mint.mode,
    epoch: mint.epoch,
    planHash: Buffer.from(mint.planHash).toString("hex"),
    budgetCents: cents,
    packets,
    expiresAt: "2099-02-07T00:00:00Z",
    quota,
    ads: lanes.map((each) => ({
      id: each.ad,
      name: `Sponsor ${each.ad}`,
      rule: "uniform",
      ...total([each], shards),
    })),
    shards: Array.from({ length: shards }, (_, shard) => ({
      shard,
      ...total(lanes),
      bytes: seedLayout(lanes).fileBytes,
      root: "0".repeat(64),
      lanes,
    })),
    histogram: [{ fromCents: 1, toCents: 500, packets, cents }],
  };
}
