/**
 * One shard's packets while they are being accounted for: columns of a few bytes a packet, indexed by the place
 * in the seed file (lane by lane), never an object or a map entry each. 21 bytes a packet, one shard at a time.
 *
 * A packet's state follows from what was seen of it, and is the furthest: nothing is ever taken back. Cents are
 * known only from an opened token; the amount of a record that could not be opened is unknown and counts as 0.
 */
import type { SeedLane } from "../../core/format/seedfile.ts";

export const STATES = ["unissued", "burned", "issued", "opened", "credited", "rejected", "refunded"] as const;
export type State = (typeof STATES)[number];

export interface Amount {
  packets: number;
  cents: number;
}
export type StateSums = Record<State, Amount>;

/** What was seen of a packet, one bit each. */
const SEEN = {
  sealed: 1,
  burned: 2,
  issued: 4,
  claimed: 8,
  rejected: 16,
  credited: 32,
  /** The ledger's entry for it is a finding. */
  faulty: 64,
} as const;
export type Seen = keyof typeof SEEN;

const CLAIM_END_UNIT = 32;

export class ShardBooks {
  readonly epoch: number;
  readonly shard: number;
  readonly packets: number;
  readonly lanes: readonly (SeedLane & { readonly first: number })[];
  private readonly cents: Uint32Array;
  private readonly serials: Uint32Array;
  /** Place of a serial, plus one; 0 = no record with this serial was read. */
  private readonly places: Uint32Array;
  private readonly seen: Uint8Array;
  /** Short hash of the user and device that a packet belongs to; 0 = nobody's yet. */
  private readonly holders: Uint32Array;
  /** Journal offset behind the claim, in units of 32 bytes, rounded up: journals of up to 128 GiB. */
  private readonly claimEnds: Uint32Array;
  private named = 0;

  constructor(epoch: number, shard: number, lanes: readonly SeedLane[]) {
    let first = 0;
    this.lanes = lanes.map((lane) => {
      const placed = { ...lane, first };
      first += lane.packets;
      return placed;
    });
    this.epoch = epoch;
    this.shard = shard;
    this.packets = first;
    this.cents = new Uint32Array(first);
    this.serials = new Uint32Array(first);
    this.places = new Uint32Array(first);
    this.seen = new Uint8Array(first);
    this.holders = new Uint32Array(first);
    this.claimEnds = new Uint32Array(first);
  }

  /** @returns the place of a lane's position, or undefined outside the lane. */
  at(lane: number, position: number): number | undefined {
    const found = this.lanes[lane];
    return found !== undefined && position < found.packets ? found.first + position : undefined;
  }

  /** @returns the place of a serial, or undefined if no record of it could be read. */
  find(serial: number): number | undefined {
    const place = this.places[serial];
    return place === undefined || place === 0 ? undefined : place - 1;
  }

  /** Says which packet lies at a place. @returns false if the serial is out of range or lies elsewhere already. */
  name(place: number, serial: number): boolean {
    const known = this.places[serial];
    if (known === undefined || (known !== 0 && known !== place + 1)) return false;
    if (known === 0) this.named++;
    this.places[serial] = place + 1;
    this.serials[place] = serial;
    return true;
  }

  /** A token was opened: the one way in which an amount becomes known. */
  seal(place: number, cents: number): void {
    this.cents[place] = cents;
    this.mark(place, "sealed");
  }

  mark(place: number, what: Seen): void {
    this.seen[place] = (this.seen[place] ?? 0) | SEEN[what];
  }

  was(place: number, what: Seen): boolean {
    return ((this.seen[place] ?? 0) & SEEN[what]) !== 0;
  }

  /** Every record could be read: a serial that is not found does not exist. */
  get isComplete(): boolean {
    return this.named === this.packets;
  }

  /** A place's packet was named (by its token, or by its hand-out if the token is damaged). */
  isNamed(place: number): boolean {
    return this.places[this.serials[place] ?? 0] === place + 1;
  }

  adOf(place: number): number {
    let [low, high] = [0, this.lanes.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.lanes[middle]?.first ?? 0) <= place) low = middle;
      else high = middle - 1;
    }
    return this.lanes[low]?.ad ?? 0;
  }

  centsOf(place: number): number {
    return this.cents[place] ?? 0;
  }

  serialOf(place: number): number {
    return this.serials[place] ?? 0;
  }

  holderOf(place: number): number {
    return this.holders[place] ?? 0;
  }

  hold(place: number, holder: number): void {
    this.holders[place] = holder;
  }

  /** The packet was opened by the one who holds it. @param end journal offset behind the claim */
  claim(place: number, end: number): void {
    this.mark(place, "claimed");
    this.claimEnds[place] = Math.ceil(end / CLAIM_END_UNIT);
  }

  /** True if the claim lies before this offset. Exact: both are ends of frames, and a claim is longer than a unit. */
  isClaimedBefore(place: number, offset: number): boolean {
    return this.was(place, "claimed") && (this.claimEnds[place] ?? 0) <= Math.ceil(offset / CLAIM_END_UNIT);
  }

  /** The furthest state that a packet reached. A refund does not exist yet. */
  stateOf(place: number): State {
    const seen = this.seen[place] ?? 0;
    if (seen & SEEN.credited) return "credited";
    if (seen & SEEN.claimed) return seen & SEEN.rejected ? "rejected" : "opened";
    if (seen & SEEN.issued) return "issued";
    return seen & SEEN.burned ? "burned" : "unissued";
  }

  /** Packets and cents of each state, one row a lane, in the order of the lanes. */
  sums(): StateSums[] {
    return this.lanes.map((lane) => {
      const sums = noSums();
      for (let place = lane.first; place < lane.first + lane.packets; place++) {
        const sum = sums[this.stateOf(place)];
        sum.packets++;
        sum.cents += this.centsOf(place);
      }
      return sums;
    });
  }
}

export function noSums(): StateSums {
  const none = (): Amount => ({ packets: 0, cents: 0 });
  return {
    unissued: none(),
    burned: none(),
    issued: none(),
    opened: none(),
    credited: none(),
    rejected: none(),
    refunded: none(),
  };
}

export function addSums(into: StateSums, more: StateSums): void {
  for (const state of STATES) {
    into[state].packets += more[state].packets;
    into[state].cents += more[state].cents;
  }
}

/** All states together: what the budget must equal. */
export function totalOf(sums: StateSums): Amount {
  return STATES.reduce<Amount>(
    (total, state) => ({
      packets: total.packets + sums[state].packets,
      cents: total.cents + sums[state].cents,
    }),
    { packets: 0, cents: 0 },
  );
}
