/**
 * Leases: "positions of this lane below N may be issued", durable in the journal before any of them leaves.
 *
 * After a crash a node cannot know which of its last hand-outs reached somebody if the disk lost their records;
 * it starts behind its leases and burns what they covered. So all leases of a shard together cover at most 256
 * packets that are not handed out yet: each lane has an equal share, extended when half of it is used.
 */
import type { Frame } from "../../core/format/frame.ts";

export const LEASED_PACKETS_MAX = 256;

interface LaneLease {
  readonly packets: number;
  /** Positions below may be issued now: the lease frame is on the disk. */
  durableUpTo: number;
  extending: Promise<void> | undefined;
}

export class Leases {
  private readonly share: number;
  private readonly lanes: LaneLease[];
  private readonly record: (frame: Frame) => Promise<void>;

  /**
   * @param lanes packets and next position of each lane
   * @param record appends a frame and resolves when it is on the disk
   */
  constructor(
    lanes: readonly { packets: number; cursor: number }[],
    record: (frame: Frame) => Promise<void>,
  ) {
    this.share = Math.max(1, Math.floor(LEASED_PACKETS_MAX / lanes.length));
    this.lanes = lanes.map(({ packets, cursor }) => ({ packets, durableUpTo: cursor, extending: undefined }));
    this.record = record;
  }

  /** True if `position` of `lane` may be issued now. Extends ahead, without waiting, when half is used. */
  covers(lane: number, position: number): boolean {
    const lease = this.lanes[lane];
    if (lease === undefined) return false;
    if (lease.durableUpTo - position <= this.share / 2) this.extend(lane, position).catch(() => {});
    return position < lease.durableUpTo;
  }

  /** Extends the lease of `lane` to a full share from `cursor`. Rejects only if the journal failed. */
  extend(lane: number, cursor: number): Promise<void> {
    const lease = this.lanes[lane];
    const upTo = lease && Math.min(lease.packets, cursor + this.share);
    if (lease === undefined || upTo === undefined || upTo <= lease.durableUpTo) return Promise.resolve();
    // If we die while this is written, the lease was either taken, and burns, or not, and nothing was issued.
    lease.extending ??= this.record({ type: "lease", lane, upTo })
      .then(() => {
        lease.durableUpTo = upTo;
      })
      .finally(() => {
        lease.extending = undefined;
      });
    return lease.extending;
  }
}
