/**
 * One lane, minted into its place in the shard's file and read back. The unit of work: a lane shares no byte
 * with another, so lanes are minted in parallel and a dead mint resumes lane by lane.
 *
 * Nothing is believed because it was sealed: what a mint reports is what the file says when it is read back,
 * every token opened and its settlement checksum held. Each serial is marked in a bitmap that all lanes of the
 * shard share across threads; a mark that is already there is a serial dealt twice.
 *
 * Memory a packet: 4 bytes for the shard's permutation (kept from lane to lane), 4 for the amounts.
 */
import type { Mode } from "../core/format/campaign.ts";
import { HongbaoError } from "../core/format/error.ts";
import { shardKey, shardKeys } from "../core/format/keyring.ts";
import { leafHash } from "../core/format/merkle.ts";
import { BLOCK_BYTES } from "../core/format/seedfile.ts";
import { TOKEN_BYTES, type TokenScope } from "../core/format/token.ts";
import {
  BULK_TOKENS_MAX,
  checkChecksums,
  fillChecksums,
  packetColumns,
  TokenBulk,
} from "../core/format/token-bulk.ts";
import { Drbg, PURPOSE } from "./drbg.ts";
import type { LaneFile } from "./lane-file.ts";
import type { LanePlan } from "./plan.ts";
import { boundsOf, splitLane } from "./split.ts";
import { countAmount, emptyTally, type Tally } from "./tally.ts";

/** The keys of a mint; they go to the threads that mint and nowhere else. */
export interface MintSecrets {
  readonly campaign: string;
  readonly mode: Mode;
  readonly epoch: number;
  readonly mintKey: Uint8Array;
  readonly settlementKey: Uint8Array;
  readonly tokenRoot: Uint8Array;
}

export interface LaneTask {
  readonly shard: number;
  readonly shardPackets: number;
  readonly lane: LanePlan;
  /** packets of the shard's lanes before this one */
  readonly firstPacket: number;
  /** offset of the lane's first record in the shard's file */
  readonly recordsAt: number;
  /** one bit a serial of the shard, shared by all its lanes */
  readonly seen: SharedArrayBuffer;
}

/** What a lane's records say. Kept in the lane's marker: a resumed mint must read the same. */
export interface LaneRecord {
  readonly tally: Tally;
  /** amounts that the lane's rule does not allow */
  readonly outOfBounds: number;
  /** leaf hashes of the lane's blocks, 32 bytes each; empty for a draft */
  readonly hashes: Uint8Array;
}

export interface LaneReading extends LaneRecord {
  /** serials that some lane of the shard had already */
  readonly repeated: number;
}

/** Called with the number of packets sealed, drafted or read back since the last call. */
export type OnPackets = (packets: number) => void;

export function seenBitmap(shardPackets: number): SharedArrayBuffer {
  return new SharedArrayBuffer(Math.ceil(shardPackets / 32) * 4);
}

/** Mints lanes of one epoch; keeps what the lanes of a shard have in common. */
export class LaneMint {
  private readonly secrets: MintSecrets;
  private readonly onPackets: OnPackets;
  private readonly columns = packetColumns(BULK_TOKENS_MAX);
  private readonly records = Buffer.alloc(BULK_TOKENS_MAX * TOKEN_BYTES);
  private bench: { readonly scope: TokenScope; readonly bulk: TokenBulk; serials?: Uint32Array } | undefined;

  constructor(secrets: MintSecrets, onPackets: OnPackets) {
    this.secrets = secrets;
    this.onPackets = onPackets;
  }

  /** Counts what a mint would write, and writes nothing. */
  draft(task: LaneTask): LaneReading {
    const amounts = this.amountsOf(task);
    const serials = this.serialsOf(task);
    const count = new LaneCount(task);
    for (let i = 0; i < amounts.length; i++) count.packet(serials[i] ?? 0, amounts[i] ?? 0);
    this.onPackets(amounts.length);
    return count.reading([]);
  }

  /** Seals the lane's packets and writes them; durable when it returns. */
  write(task: LaneTask, file: LaneFile): void {
    const { scope, bulk } = this.benchOf(task);
    const { columns } = this;
    const amounts = this.amountsOf(task);
    const serials = this.serialsOf(task);
    columns.ads.fill(task.lane.ad);
    for (const { at, n, records, position } of this.batches(task)) {
      columns.serials.set(serials.subarray(at, at + n));
      columns.cents.set(amounts.subarray(at, at + n));
      fillChecksums(this.secrets.settlementKey, columns, n, scope);
      bulk.seal(columns, n, records);
      file.write(records, position);
      this.onPackets(n);
    }
    // If we die here, the lane has no marker: the resumed mint writes the same bytes again.
    file.datasync();
  }

  /**
   * Reads the lane back and opens every packet of it.
   * @throws HongbaoError `mint_failed` if a record is not what this mint seals
   */
  read(task: LaneTask, file: LaneFile): LaneReading {
    const { scope, bulk } = this.benchOf(task);
    const { columns } = this;
    const count = new LaneCount(task);
    const hashes: Buffer[] = [];
    for (const { at, n, records, position } of this.batches(task)) {
      file.read(records, position);
      for (let block = 0; block < records.length; block += BLOCK_BYTES)
        hashes.push(leafHash(records.subarray(block, block + BLOCK_BYTES)));
      bulk.open(records, n, columns);
      const settled = checkChecksums(this.secrets.settlementKey, columns, n, scope);
      for (let i = 0; i < n; i++) {
        if (columns.valid[i] !== 1 || columns.ads[i] !== task.lane.ad || settled[i] !== 1)
          throw misread(task, at + i);
        count.packet(columns.serials[i] ?? 0, columns.cents[i] ?? 0);
      }
      this.onPackets(n);
    }
    return count.reading(hashes);
  }

  private *batches({ lane, recordsAt }: LaneTask) {
    for (let at = 0; at < lane.packets; at += BULK_TOKENS_MAX) {
      const n = Math.min(BULK_TOKENS_MAX, lane.packets - at);
      yield {
        at,
        n,
        records: this.records.subarray(0, n * TOKEN_BYTES),
        position: recordsAt + at * TOKEN_BYTES,
      };
    }
  }

  private amountsOf({ shard, lane }: LaneTask): Uint32Array {
    const stream = (purpose: 2 | 3) => new Drbg(this.secrets.mintKey, { purpose, shard, ad: lane.ad });
    return splitLane(lane, stream(PURPOSE.amounts), stream(PURPOSE.order));
  }

  /** The lane's part of the shard's shuffled serials: neither lane nor place can be told from a serial. */
  private serialsOf(task: LaneTask): Uint32Array {
    const bench = this.benchOf(task);
    if (bench.serials === undefined) {
      bench.serials = new Uint32Array(task.shardPackets);
      for (let i = 0; i < bench.serials.length; i++) bench.serials[i] = i;
      new Drbg(this.secrets.mintKey, { purpose: PURPOSE.serials, shard: task.shard, ad: 0 }).shuffle(
        bench.serials,
      );
    }
    return bench.serials.subarray(task.firstPacket, task.firstPacket + task.lane.packets);
  }

  private benchOf({ shard, shardPackets: packets }: LaneTask) {
    if (this.bench?.scope.shard === shard) return this.bench;
    const { campaign, mode, epoch, tokenRoot } = this.secrets;
    const scope: TokenScope = { campaign, mode, epoch, shard, packets };
    this.bench = { scope, bulk: new TokenBulk(shardKeys(shardKey(tokenRoot, shard)).token, scope) };
    return this.bench;
  }
}

class LaneCount {
  private readonly tally = emptyTally();
  private readonly bounds: { readonly minCents: number; readonly maxCents: number };
  private readonly prizes: ReadonlySet<number>;
  private readonly seen: Int32Array;
  private outOfBounds = 0;
  private repeated = 0;

  constructor({ lane, seen }: LaneTask) {
    this.bounds = boundsOf(lane.rest);
    this.prizes = new Set(lane.tiers.map(({ cents }) => cents));
    this.seen = new Int32Array(seen);
  }

  packet(serial: number, amount: number): void {
    const { minCents, maxCents } = this.bounds;
    if ((amount < minCents || amount > maxCents) && !this.prizes.has(amount)) this.outOfBounds++;
    const bit = 1 << (serial & 31);
    if ((Atomics.or(this.seen, serial >>> 5, bit) & bit) !== 0) this.repeated++;
    countAmount(this.tally, amount);
  }

  reading(hashes: readonly Buffer[]): LaneReading {
    const { tally, outOfBounds, repeated } = this;
    return { tally, outOfBounds, repeated, hashes: Buffer.concat(hashes) };
  }
}

export function misread(task: LaneTask, record: number): HongbaoError {
  return new HongbaoError(
    "mint_failed",
    `shard ${task.shard}, ad ${task.lane.ad}, record ${record}: the file does not read back as it was sealed: the disk or the memory is faulty; mint a new epoch on another machine`,
  );
}
