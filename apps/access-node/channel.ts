/**
 * A lane's channel: sealed packets in file order, each taken once. What left the channel cannot leave it again,
 * because the cursor is read and advanced in one synchronous step of one event loop, and nothing else moves it.
 *
 * A take can be had only under a durable lease and with the packet's block in memory; `tryTake` says "wait"
 * when either is still on its way, `take` waits for it. A closed channel gives nothing more.
 */
import { HongbaoError } from "../../core/format/error.ts";
import type { LaneLayout } from "../../core/format/seedfile.ts";
import type { BlockFeed } from "./block-feed.ts";
import type { Leases } from "./leases.ts";

export interface Taken {
  readonly lane: number;
  readonly position: number;
  readonly ad: number;
  /** 45 bytes */
  readonly token: Uint8Array;
}

export class Channel {
  readonly lane: number;
  readonly ad: number;
  readonly packets: number;
  private readonly feed: BlockFeed;
  private readonly leases: Leases;
  private cursor: number;
  private closed = false;
  private damaged = false;

  constructor(lane: number, layout: LaneLayout, cursor: number, feed: BlockFeed, leases: Leases) {
    this.lane = lane;
    this.ad = layout.ad;
    this.packets = layout.packets;
    this.cursor = cursor;
    this.feed = feed;
    this.leases = leases;
  }

  /** Packets that were never handed out and still can be: none once the lane is damaged. */
  get left(): number {
    return this.damaged ? 0 : this.packets - this.cursor;
  }

  get position(): number {
    return this.cursor;
  }

  /** A packet; "wait" while lease or block are on their way; "sold-out" or "closed" for good. */
  tryTake(): Taken | "wait" | "sold-out" | "closed" {
    if (this.closed) return "closed";
    if (this.left === 0) return "sold-out";
    const position = this.cursor;
    if (!this.leases.covers(this.lane, position)) return "wait";
    const token = this.feed.record(position);
    if (token === undefined) return "wait";
    this.cursor++;
    return { lane: this.lane, position, ad: this.ad, token };
  }

  /** Waits for the next packet. @throws HongbaoError `invalid_seed_file`, `journal_failed` */
  async take(): Promise<Taken | "sold-out" | "closed"> {
    for (;;) {
      const taken = this.tryTake();
      if (taken !== "wait") return taken;
      await this.ready();
    }
  }

  /** Resolves when lease and block of the next packet are there (another taker may be faster). */
  async ready(): Promise<void> {
    if (this.closed || this.left === 0) return;
    await Promise.all([this.leases.extend(this.lane, this.cursor), this.load()]);
  }

  /** Resolves when the block of the next packet is in memory. @throws HongbaoError `invalid_seed_file` */
  async load(): Promise<void> {
    if (this.left === 0) return;
    try {
      await this.feed.load(this.cursor);
    } catch (error) {
      // A block that was whole at the start and is not now: this lane gives nothing more, the others go on.
      if (error instanceof HongbaoError && error.code === "invalid_seed_file") this.damaged = true;
      throw error;
    }
  }

  close(): void {
    this.closed = true;
  }

  get isDamaged(): boolean {
    return this.damaged;
  }
}
