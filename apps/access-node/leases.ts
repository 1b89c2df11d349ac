/**
 * Leases: "positions of this lane below N may be issued", durable in the journal before any of them leaves.
 *
 * After a crash a node cannot know which of its last hand-outs reached somebody if the disk lost their records;
 * it starts behind its leases and burns what they covered. So all leases of a shard together cover at most 256
 * packets that are not handed out yet: each lane has an equal share, but no more than an eighth of itself. A
 * lease begins small and doubles whenever a taker had to wait for it, up to that share: a crash in a quiet hour
 * burns a handful, and a rush is not held up by the disk.
 */
import type { Frame } from "../../core/format/frame.ts";

const LEASED_PACKETS_MAX = 256;
const LEASED_PACKETS_FIRST = 8;
const LANE_FRACTION = 8;

interface LaneLease {
  readonly packets: number;
  /** Most packets that this lane may have leased and not handed out. */
  readonly share: number;
  size: number;
  /** Positions below may be issued now: the lease frame is on the disk. */
  durableUpTo: number;
  extending: Promise<void> | undefined;
}

export class Leases {
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
    const equal = Math.max(1, Math.floor(LEASED_PACKETS_MAX / lanes.length));
    this.lanes = lanes.map(({ packets, cursor }) => {
      const share = Math.min(equal, Math.ceil(packets / LANE_FRACTION));
      return {
        packets,
        share,
        size: Math.min(share, LEASED_PACKETS_FIRST),
        durableUpTo: cursor,
        extending: undefined,
      };
    });
    this.record = record;
  }

  /** True if `position` of `lane` may be issued now. Extends ahead, without waiting, when half is used. */
  covers(lane: number, position: number): boolean {
    const lease = this.lanes[lane];
    if (lease === undefined) return false;
    const covered = position < lease.durableUpTo;
    if (!covered && lease.extending) lease.size = Math.min(lease.share, lease.size * 2);
    if (lease.durableUpTo - position <= lease.size / 2) this.extend(lane, position).catch(() => {});
    return covered;
  }

  /** Extends the lease of `lane` from `cursor` on. Rejects only if the journal failed. */
  extend(lane: number, cursor: number): Promise<void> {
    const lease = this.lanes[lane];
    const upTo = lease && Math.min(lease.packets, cursor + lease.size);
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
