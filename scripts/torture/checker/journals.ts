/**
 * What the nodes wrote down, held against the seeds, against itself and against what clients saw: each packet
 * handed out once, from where it lies, under a lease and in a round of its ad, and to the one who says so; opened
 * once, by that one; and no more burned than a crash may burn.
 */
import type { Frame } from "../../../core/format/frame.ts";
import type { Round } from "../../../core/format/show.ts";
import { campaignTag } from "../../../core/format/token.ts";
import type { Answers } from "./answers.ts";
import type { Faults } from "./faults.ts";
import type { CampaignFiles } from "./files.ts";
import { walkJournal } from "./journal-walk.ts";
import { nameHash } from "./name-hash.ts";
import type { Packets } from "./packets.ts";

/** All leases of a shard together: what one crash may burn. */
const LEASED_PACKETS_MAX = 256;

type FrameOf<T extends Frame["type"]> = Extract<Frame, { type: T }>;

export interface JournalRules {
  /** Rounds that were on air; undefined: every ad at all times. */
  readonly rounds?: readonly Pick<Round, "opensAt" | "closesAt" | "ads">[] | undefined;
  /** How often the shard's node was killed: each time it may burn one lease. */
  readonly nodeKills: (shard: number) => number;
}

export class Journals {
  /** Hash of (user, device) that a packet was handed out to by the journal; 0 = not handed out. */
  readonly issuedTo: Float64Array;
  /** Hash of (user, device) of the recorded claim; 0 = none. */
  readonly claimedBy: Float64Array;
  readonly burned: Uint8Array;
  burnedPackets = 0;
  private readonly packets: Packets;
  private readonly answers: Answers;
  private readonly faults: Faults;

  constructor(packets: Packets, answers: Answers, faults: Faults) {
    this.packets = packets;
    this.answers = answers;
    this.faults = faults;
    this.issuedTo = new Float64Array(packets.count);
    this.claimedBy = new Float64Array(packets.count);
    this.burned = new Uint8Array(packets.count);
  }

  read(files: CampaignFiles, rules: JournalRules): void {
    const { campaign, epoch, shards } = this.packets.manifest;
    for (const { shard, lanes } of shards) {
      const identity = { campaignTag: campaignTag(campaign), epoch, shard };
      const walk = new ShardJournal(this, shard, lanes.length, rules);
      const damage = (what: string) => this.faults.add("unexpected", `journal of shard ${shard}: ${what}`);
      for (const frame of walkJournal(files.journal(shard), identity, damage)) walk.apply(frame);
      walk.end();
    }
    this.holdAnswers();
  }

  /** @returns the packet that lies there; a place outside of the mint is a fault */
  at(shard: number, lane: number, position: number): number | undefined {
    const number = this.packets.at(shard, lane, position);
    if (number === undefined) this.fault(shard, `lane ${lane} has no position ${position}`);
    return number;
  }

  issue(shard: number, number: number, { serial, user, device }: FrameOf<"issue">): void {
    const name = this.packets.name(number);
    if (this.packets.serialOf(number) !== serial)
      this.fault(shard, `packet ${serial} is handed out where ${name} lies`);
    if (this.burned[number] === 1) this.fault(shard, `packet ${name} is burned, and handed out`);
    const holder = nameHash(user, device);
    if (this.issuedTo[number] === 0) this.issuedTo[number] = holder;
    else this.faults.add("duplicated", `the journal hands packet ${name} out again, to ${user}`);
  }

  claim(shard: number, { serial, token, user, device }: FrameOf<"claim">): void {
    const number = this.packets.number(this.packets.manifest.epoch, shard, serial);
    if (number === undefined || this.packets.numberOf(token) !== number) {
      this.fault(shard, `a claim of packet ${serial} with a token that is not its own`);
      return;
    }
    const name = this.packets.name(number);
    const holder = nameHash(user, device);
    if (this.issuedTo[number] !== holder) this.fault(shard, `packet ${name} is claimed by another: ${user}`);
    if (this.claimedBy[number] === 0) this.claimedBy[number] = holder;
    else this.fault(shard, `packet ${name} is claimed twice`);
  }

  burn(shard: number, number: number): void {
    if (this.issuedTo[number] !== 0 || this.burned[number] === 1)
      this.fault(shard, `packet ${this.packets.name(number)} is burned, but was not in stock`);
    this.burned[number] = 1;
    this.burnedPackets++;
  }

  fault(shard: number, what: string): void {
    this.faults.add("unexpected", `journal of shard ${shard}: ${what}`);
  }

  ad(number: number): number {
    return this.packets.ads[number] ?? 0;
  }

  /** Recorded before answered: whatever a client saw stands in a journal. */
  private holdAnswers(): void {
    const { answers, faults, packets } = this;
    for (let number = 0; number < packets.count; number++) {
      const holder = answers.holders[number];
      if (holder !== 0 && this.issuedTo[number] !== holder)
        faults.add("unexpected", `packet ${packets.name(number)}: its journal does not say who was given it`);
      if (answers.isAcknowledged(number) && this.claimedBy[number] === 0)
        faults.add("unexpected", `packet ${packets.name(number)}: acknowledged, and in no journal`);
    }
  }
}

/** One shard's journal while it is walked. */
class ShardJournal {
  private readonly all: Journals;
  private readonly shard: number;
  private readonly rules: JournalRules;
  private readonly cursors: number[];
  private readonly leasedUpTo: number[];
  private burns = 0;
  /** Packets of the burn frames that stand together: one start's. */
  private burnedAtOnce = 0;

  constructor(all: Journals, shard: number, lanes: number, rules: JournalRules) {
    this.all = all;
    this.shard = shard;
    this.rules = rules;
    this.cursors = new Array<number>(lanes).fill(0);
    this.leasedUpTo = new Array<number>(lanes).fill(0);
  }

  apply(frame: Frame): void {
    if (frame.type === "durable" || frame.type === "acknowledged") return;
    if (frame.type === "burn") {
      this.burn(frame);
      return;
    }
    this.burnedAtOnce = 0;
    if (frame.type === "issue") this.issue(frame);
    else if (frame.type === "claim") this.all.claim(this.shard, frame);
    else if (frame.type === "lease") this.lease(frame);
    else for (const [lane, cursor] of frame.cursors.entries()) this.leasedUpTo[lane] = cursor;
  }

  end(): void {
    const kills = this.rules.nodeKills(this.shard);
    if (this.burns > kills)
      this.all.fault(this.shard, `burned at ${this.burns} starts, but killed ${kills} times`);
  }

  private issue(frame: FrameOf<"issue">): void {
    const { lane, position, atMs } = frame;
    const number = this.all.at(this.shard, lane, position);
    if (number === undefined) return;
    if (position !== this.cursors[lane])
      this.all.fault(this.shard, `lane ${lane} goes on at ${position}, not at ${this.cursors[lane]}`);
    if (position >= (this.leasedUpTo[lane] ?? 0))
      this.all.fault(this.shard, `position ${position} of lane ${lane} is handed out without a lease`);
    if (!this.isOnAir(this.all.ad(number), atMs))
      this.all.fault(this.shard, `a packet of ad ${this.all.ad(number)} is handed out outside of its rounds`);
    this.cursors[lane] = position + 1;
    this.all.issue(this.shard, number, frame);
  }

  private lease({ lane, upTo }: FrameOf<"lease">): void {
    this.leasedUpTo[lane] = upTo;
    const leased = this.leasedUpTo.reduce((sum, to, i) => sum + Math.max(0, to - (this.cursors[i] ?? 0)), 0);
    if (leased > LEASED_PACKETS_MAX) this.all.fault(this.shard, `${leased} packets are leased at once`);
  }

  private burn({ lane, from, to }: FrameOf<"burn">): void {
    if (this.burnedAtOnce === 0) this.burns++;
    this.burnedAtOnce += to - from;
    if (this.burnedAtOnce > LEASED_PACKETS_MAX)
      this.all.fault(this.shard, `one start burned ${this.burnedAtOnce} packets`);
    for (let position = from; position < to; position++) {
      const number = this.all.at(this.shard, lane, position);
      if (number !== undefined) this.all.burn(this.shard, number);
    }
    this.cursors[lane] = to;
    this.leasedUpTo[lane] = to;
  }

  private isOnAir(ad: number, atMs: number): boolean {
    const { rounds } = this.rules;
    return (
      rounds === undefined ||
      rounds.some(
        (round) =>
          round.ads.includes(ad) && Date.parse(round.opensAt) <= atMs && atMs < Date.parse(round.closesAt),
      )
    );
  }
}
