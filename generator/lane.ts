/**
 * One lane, minted into its place in the shard's file and read back. The unit of work: a lane shares no byte
 * with another, so lanes are minted in parallel and a dead mint resumes lane by lane.
 *
 * What is sealed is counted and hashed as it is sealed. Then the file is read back: every block must have its
 * hash, every serial is marked in a bitmap that all lanes of the shard share across threads (a mark that is
 * already there is a serial dealt twice), and the lane's first block is opened like anybody would open it.
 * Opening all of them would nearly double the time of a mint; `reconcile --audit` does it at leisure.
 *
 * Memory a packet: 4 bytes for the shard's permutation (kept from lane to lane), 4 for the amounts.
 */
import { fdatasyncSync, readSync, writeSync } from "node:fs";
import type { Mode } from "../core/format/campaign.ts";
import { HongbaoError, invariant } from "../core/format/error.ts";
import { shardKey, shardKeys } from "../core/format/keyring.ts";
import { HASH_BYTES, leafHash } from "../core/format/merkle.ts";
import { BLOCK_BYTES, BLOCK_RECORDS } from "../core/format/seedfile.ts";
import { NONCE_AT, TOKEN_BYTES, type TokenScope } from "../core/format/token.ts";
import {
  BULK_TOKENS_MAX,
  checkChecksums,
  fillChecksums,
  packetColumns,
  TokenBulk,
} from "../core/format/token-bulk.ts";
import { Drbg, PURPOSE } from "./drbg.ts";
import type { LanePlan } from "./plan.ts";
import { boundsOf, splitLane } from "./split.ts";
import { countAmount, emptyTally, type Tally } from "./tally.ts";

/** Where a record carries its serial in the clear: the last four bytes of the nonce. */
const SERIAL_AT = NONCE_AT + 8;

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

/** What was sealed. Kept in the lane's marker, so a resumed mint knows it without minting. */
export interface LaneRecord {
  readonly tally: Tally;
  /** amounts that the lane's rule does not allow */
  readonly outOfBounds: number;
  /** leaf hashes of the lane's blocks, 32 bytes each; empty for a draft */
  readonly hashes: Uint8Array;
}

/** Called with the number of packets finished since the last call. */
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

  /** Counts what a mint would write, and writes nothing. @returns also the serials dealt twice */
  draft(task: LaneTask): LaneRecord & { repeated: number } {
    const amounts = this.amountsOf(task);
    const serials = this.serialsOf(task);
    const count = new AmountCount(task.lane);
    const marks = new SerialMarks(task.seen);
    for (const amount of amounts) count.add(amount);
    for (const serial of serials) marks.add(serial);
    this.onPackets(amounts.length);
    return { ...count.sum(), hashes: new Uint8Array(0), repeated: marks.repeated };
  }

  /** Seals the lane's packets and writes them; durable when it returns. */
  write(task: LaneTask, fd: number): LaneRecord {
    const { scope, bulk } = this.benchOf(task);
    const { columns } = this;
    const amounts = this.amountsOf(task);
    const serials = this.serialsOf(task);
    const count = new AmountCount(task.lane);
    const hashes: Buffer[] = [];
    columns.ads.fill(task.lane.ad);
    for (const { at, n, records, position } of this.batches(task)) {
      columns.serials.set(serials.subarray(at, at + n));
      columns.cents.set(amounts.subarray(at, at + n));
      fillChecksums(this.secrets.settlementKey, columns, n, scope);
      bulk.seal(columns, n, records);
      for (let i = 0; i < n; i++) count.add(columns.cents[i] ?? 0);
      for (const block of blocksOf(records)) hashes.push(leafHash(block));
      writeAll(fd, records, position);
      this.onPackets(n);
    }
    // If we die here, the lane has no marker: the resumed mint writes the same bytes again.
    fdatasyncSync(fd);
    return { ...count.sum(), hashes: Buffer.concat(hashes) };
  }

  /**
   * Reads the lane back and holds it against the hashes of what was sealed.
   * @returns how many of its serials some lane of the shard had already
   * @throws HongbaoError `mint_failed` if a record is not what this mint seals
   */
  reread(task: LaneTask, fd: number, hashes: Uint8Array): number {
    const marks = new SerialMarks(task.seen);
    let hashAt = 0;
    for (const { at, n, records, position } of this.batches(task)) {
      readAll(fd, records, position);
      for (const block of blocksOf(records)) {
        const expected = hashes.subarray(hashAt, hashAt + HASH_BYTES);
        if (!leafHash(block).equals(expected)) throw misread(task, at);
        hashAt += HASH_BYTES;
      }
      for (let i = 0; i < n; i++) marks.add(records.readUInt32BE(i * TOKEN_BYTES + SERIAL_AT));
      if (at === 0) this.openFirst(task, records, Math.min(n, BLOCK_RECORDS));
    }
    invariant(hashAt === hashes.length, "a lane has a hash for every block");
    return marks.repeated;
  }

  private openFirst(task: LaneTask, records: Buffer, n: number): void {
    const { scope, bulk } = this.benchOf(task);
    const { columns } = this;
    bulk.open(records, n, columns);
    const settled = checkChecksums(this.secrets.settlementKey, columns, n, scope);
    for (let i = 0; i < n; i++)
      if (columns.valid[i] !== 1 || columns.ads[i] !== task.lane.ad || settled[i] !== 1)
        throw misread(task, i);
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

class AmountCount {
  private readonly tally = emptyTally();
  private readonly bounds: { readonly minCents: number; readonly maxCents: number };
  private readonly prizes: ReadonlySet<number>;
  private outOfBounds = 0;

  constructor({ rest, tiers }: LanePlan) {
    this.bounds = boundsOf(rest);
    this.prizes = new Set(tiers.map(({ cents }) => cents));
  }

  add(amount: number): void {
    const { minCents, maxCents } = this.bounds;
    if ((amount < minCents || amount > maxCents) && !this.prizes.has(amount)) this.outOfBounds++;
    countAmount(this.tally, amount);
  }

  sum(): { tally: Tally; outOfBounds: number } {
    return { tally: this.tally, outOfBounds: this.outOfBounds };
  }
}

class SerialMarks {
  repeated = 0;
  private readonly seen: Int32Array;

  constructor(seen: SharedArrayBuffer) {
    this.seen = new Int32Array(seen);
  }

  add(serial: number): void {
    const bit = 1 << (serial & 31);
    if ((Atomics.or(this.seen, serial >>> 5, bit) & bit) !== 0) this.repeated++;
  }
}

function* blocksOf(records: Buffer): Generator<Buffer> {
  for (let at = 0; at < records.length; at += BLOCK_BYTES) yield records.subarray(at, at + BLOCK_BYTES);
}

function misread(task: LaneTask, record: number): HongbaoError {
  return new HongbaoError(
    "mint_failed",
    `shard ${task.shard}, ad ${task.lane.ad}, near record ${record}: the file does not read back as it was sealed: the disk or the memory is faulty; mint a new epoch on another machine`,
  );
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, position + at);
}

function readAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length; ) {
    const got = readSync(fd, bytes, at, bytes.length - at, position + at);
    invariant(got > 0, "a shard's file is as long as its layout says");
    at += got;
  }
}
