/**
 * Everything this node has promised, as its journal tells it: cursors, leases, burned packets, who won what,
 * which requests were answered, which packets are claimed, how far the ledger has acknowledged.
 *
 * The same `apply` runs on every frame of a recovery and on every frame that is appended live, so that what a
 * restarted node knows is what it knew. Memory: four bytes a packet, and one entry a winner and a keyed request.
 */
import type { Claim } from "../../core/format/claim.ts";
import { invariant } from "../../core/format/error.ts";
import type { Frame } from "../../core/format/frame.ts";
import type { Won } from "../../core/format/pass.ts";
import { claimHash } from "../../core/store/ledger-claim.ts";

/** A packet answer that may have to be given again. */
export interface Answered {
  /** Hash of the request's body, hex. */
  readonly body: string;
  readonly lane: number;
  readonly position: number;
  readonly serial: number;
  readonly won: Won;
}

interface LaneBook {
  /** Next position to issue. */
  cursor: number;
  leasedUpTo: number;
  burned: number;
}

export class Book {
  readonly lanes: readonly Readonly<LaneBook>[];
  private readonly laneBooks: LaneBook[];
  /** The last claim of each packet: 4 bytes of its hash, 0 for none. */
  private readonly claimMarks: Uint32Array;
  private readonly packets: number;
  private readonly winners = new Map<string, Won>();
  private readonly answers = new Map<string, Answered>();
  private claims = 0;
  private claimedEnd = 0;
  private acknowledgement: { ledgerId: Buffer; upTo: number } | undefined;

  /** @param lanePackets packets of each lane of the shard */
  constructor(lanePackets: readonly number[]) {
    this.laneBooks = lanePackets.map(() => ({ cursor: 0, leasedUpTo: 0, burned: 0 }));
    this.lanes = this.laneBooks;
    this.packets = lanePackets.reduce((sum, n) => sum + n, 0);
    this.claimMarks = new Uint32Array(this.packets);
  }

  /** @param offset the stream offset at which the frame begins, or a little before. @throws BrokenInvariant for a frame that cannot follow */
  apply(frame: Frame, offset: number): void {
    switch (frame.type) {
      case "issue": {
        const lane = this.lane(frame.lane);
        invariant(frame.position === lane.cursor, "packets of a lane are issued in order, each once");
        lane.cursor++;
        this.winners.set(frame.user, frame.won);
        if (frame.request) this.remember(frame.request.key, frame.request.body, frame);
        return;
      }
      case "claim":
        this.claim(frame.serial, frame);
        this.claimedEnd = offset + 1;
        return;
      case "lease":
        this.lane(frame.lane).leasedUpTo = frame.upTo;
        return;
      case "burn": {
        const lane = this.lane(frame.lane);
        invariant(frame.from === lane.cursor && frame.to >= frame.from, "a burn begins at the cursor");
        lane.cursor = frame.to;
        lane.burned += frame.to - frame.from;
        return;
      }
      case "return":
        for (const [index, cursor] of frame.cursors.entries()) {
          invariant(cursor === this.lane(index).cursor, "a lease is returned from the cursor on");
          this.lane(index).leasedUpTo = cursor;
        }
        return;
      case "acknowledged":
        this.acknowledgement = { ledgerId: Buffer.from(frame.ledgerId), upTo: frame.upTo };
        return;
      case "durable":
        return;
    }
  }

  /** What this node knows that `user` has won, here and (from the passes it was shown) elsewhere. */
  wonBy(user: string): Won {
    return this.winners.get(user) ?? [];
  }

  /** @param key hash of (user, device, Idempotency-Key), hex */
  answered(key: string): Answered | undefined {
    return this.answers.get(key);
  }

  isClaimed(serial: number): boolean {
    return this.claimMarks[serial] !== 0;
  }

  /**
   * True if this very claim (token, user, device) is the packet's last one. Another one with the same serial is not
   * the same: who has stolen the node's key can seal any serial, and must not use up the genuine holder's claim.
   */
  holds(serial: number, claim: Claim): boolean {
    return this.claimMarks[serial] === markOf(claim);
  }

  /** A stream offset inside the last claim: a ledger that acknowledged further has all of them. */
  get claimedUpTo(): number {
    return this.claimedEnd;
  }

  get claimed(): number {
    return this.claims;
  }

  get winnerCount(): number {
    return this.winners.size;
  }

  /** Journal offset up to which a ledger has acknowledged the claims, and that ledger's ID. */
  get acknowledged(): { readonly ledgerId: Buffer; readonly upTo: number } | undefined {
    return this.acknowledgement;
  }

  private claim(serial: number, claim: Claim): void {
    invariant(serial < this.packets, "a claimed serial is one of the shard");
    if (!this.isClaimed(serial)) this.claims++;
    this.claimMarks[serial] = markOf(claim);
  }

  private remember(key: Uint8Array, body: Uint8Array, issue: Omit<Answered, "body">): void {
    const { lane, position, serial, won } = issue;
    this.answers.set(hex(key), { body: hex(body), lane, position, serial, won });
  }

  private lane(index: number): LaneBook {
    const lane = this.laneBooks[index];
    invariant(lane !== undefined, `the shard has no lane ${index}`);
    return lane;
  }
}

function markOf(claim: Claim): number {
  return claimHash(claim).readUInt32BE() || 1;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
