/**
 * Every packet of a mint, read from the seed files and opened by the reference path on noble, one by one. (Worker
 * and reconcile use the bulk path.) A packet is known here by its number: shard after shard, serial by serial. All
 * that is remembered of it stands in columns, 63 bytes a packet; no packet is ever an object.
 */
import { existsSync, readFileSync } from "node:fs";
import { checksumHolds } from "../../../core/format/checksum.ts";
import { keyBytes, parseKeyFile } from "../../../core/format/keyfile.ts";
import { type ShardKeys, shardKey, shardKeys } from "../../../core/format/keyring.ts";
import {
  type Manifest,
  type ManifestShard,
  parseManifest,
  shardScope,
} from "../../../core/format/manifest.ts";
import { formatPacket } from "../../../core/format/packet.ts";
import { seedLayout } from "../../../core/format/seedfile.ts";
import { campaignTag, readTokenNonce, TOKEN_BYTES, tokenOpener } from "../../../core/format/token.ts";
import type { Faults } from "./faults.ts";
import type { CampaignFiles } from "./files.ts";

export class Packets {
  readonly manifest: Manifest;
  readonly count: number;
  /** Known once the token was opened; 0 if it did not open. */
  readonly cents: Uint32Array;
  readonly ads: Uint16Array;
  private readonly settlement: { readonly key: Uint8Array; readonly tokenRoot: Uint8Array };
  private readonly tag: number;
  private readonly tokens: Buffer;
  /** 1: a seed file holds it. */
  private readonly sealed: Uint8Array;
  /** Number of the first packet of each shard, and one behind the last. */
  private readonly first: number[] = [0];
  /** First place of each lane inside its shard. */
  private readonly laneFirst: number[][] = [];
  /** Place in the seed file (shard's first number + place) -> number, plus one. */
  private readonly numberAtPlace: Uint32Array;

  constructor(files: CampaignFiles, faults: Faults) {
    this.manifest = parseManifest(readFileSync(files.manifest), files.manifest);
    const file = parseKeyFile(
      "settlement",
      readFileSync(files.settlementKey, "utf8"),
      "the settlement key file",
    );
    this.settlement = { key: keyBytes(file.settlementKey), tokenRoot: keyBytes(file.tokenRoot) };
    this.tag = campaignTag(this.manifest.campaign);
    for (const { shard, packets, lanes } of this.manifest.shards) {
      this.first.push((this.first[shard] ?? 0) + packets);
      let place = 0;
      this.laneFirst.push(
        lanes.map((lane) => {
          place += lane.packets;
          return place - lane.packets;
        }),
      );
    }
    this.count = this.manifest.packets;
    this.cents = new Uint32Array(this.count);
    this.ads = new Uint16Array(this.count);
    this.tokens = Buffer.alloc(this.count * TOKEN_BYTES);
    this.sealed = new Uint8Array(this.count);
    this.numberAtPlace = new Uint32Array(this.count);
    for (const shard of this.manifest.shards) this.readSeeds(shard, files.seed(shard.shard), faults);
  }

  /** @returns the packet's number, or undefined if the mint has no such packet */
  number(epoch: number, shard: number, serial: number): number | undefined {
    const place = this.manifest.shards[shard];
    if (epoch !== this.manifest.epoch || place === undefined || serial >= place.packets) return undefined;
    return (this.first[shard] ?? 0) + serial;
  }

  /** @returns the packet whose sealed token these 45 bytes are, to the last bit; else undefined */
  numberOf(token: Uint8Array): number | undefined {
    const named = readTokenNonce(token);
    const number = this.number(named.epoch, named.shard, named.serial);
    if (number === undefined || named.campaignTag !== this.tag) return undefined;
    const sealed = this.tokens.subarray(number * TOKEN_BYTES, (number + 1) * TOKEN_BYTES);
    return sealed.equals(token) ? number : undefined;
  }

  /** @returns the packet that lies at a position of a lane, or undefined outside of it */
  at(shard: number, lane: number, position: number): number | undefined {
    const packets = this.manifest.shards[shard]?.lanes[lane]?.packets ?? 0;
    if (position >= packets) return undefined;
    const place = (this.first[shard] ?? 0) + (this.laneFirst[shard]?.[lane] ?? 0) + position;
    const number = this.numberAtPlace[place] ?? 0;
    return number === 0 ? undefined : number - 1;
  }

  shardOf(number: number): number {
    let [low, high] = [0, this.manifest.shards.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.first[middle] ?? 0) <= number) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  serialOf(number: number): number {
    return number - (this.first[this.shardOf(number)] ?? 0);
  }

  /** The packet's public name, "1-0-4711". */
  name(number: number): string {
    const { epoch } = this.manifest;
    return formatPacket({ epoch, shard: this.shardOf(number), serial: this.serialOf(number) });
  }

  keysOf(shard: number): ShardKeys {
    return shardKeys(shardKey(this.settlement.tokenRoot, shard));
  }

  private readSeeds(shard: ManifestShard, path: string, faults: Faults): void {
    const scope = shardScope(this.manifest, shard);
    const open = tokenOpener(this.keysOf(shard.shard).token, scope);
    const layout = seedLayout(shard.lanes);
    const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
    if (bytes.length !== layout.fileBytes) {
      faults.add("unexpected", `seed file ${shard.shard} has ${bytes.length} bytes`);
      return;
    }
    const first = this.first[shard.shard] ?? 0;
    for (const [lane, { ad, packets, recordsAt }] of layout.lanes.entries())
      for (let position = 0; position < packets; position++) {
        const at = recordsAt + position * TOKEN_BYTES;
        const token = bytes.subarray(at, at + TOKEN_BYTES);
        const packet = open(token);
        const settled = packet && { epoch: scope.epoch, shard: scope.shard, ...packet };
        if (settled === undefined || !checksumHolds(this.settlement.key, settled, settled.checksum))
          faults.add("unexpected", `seed ${shard.shard}, lane ${lane}, position ${position} does not open`);
        else if (settled.ad !== ad || this.sealed[first + settled.serial] === 1)
          faults.add("unexpected", `seed ${shard.shard}, lane ${lane}, position ${position}: ad or serial`);
        else {
          const number = first + settled.serial;
          this.sealed[number] = 1;
          this.cents[number] = settled.cents;
          this.ads[number] = settled.ad;
          this.tokens.set(token, number * TOKEN_BYTES);
          this.numberAtPlace[first + (this.laneFirst[shard.shard]?.[lane] ?? 0) + position] = number + 1;
        }
      }
  }
}
