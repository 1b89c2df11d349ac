/**
 * Stands beside one node, sees every record in the moment in which it is appended and every answer as it leaves, and
 * holds the node to what it has promised, in this life and in those before.
 */
import type { OpenAnswer, OpenRequest } from "../../../apps/access-node/open.ts";
import type { OpenedShard } from "../../../apps/access-node/open-shard.ts";
import type { ShakeAnswer } from "../../../apps/access-node/shake.ts";
import type { Shard } from "../../../apps/access-node/shard.ts";
import { decodeBatch } from "../../../core/format/claim-batch.ts";
import { invariant } from "../../../core/format/error.ts";
import type { Frame } from "../../../core/format/frame.ts";
import type { Show } from "../../../core/format/show.ts";
import { tokenSerial } from "../../../core/format/token.ts";
import { type AskedShake, type End, HandOuts } from "./hand-outs.ts";
import type { WallClock } from "./life.ts";
import type { Surroundings } from "./surroundings.ts";

/** From harmless to worst. */
const ENDS: readonly End[] = ["stopped", "killed", "disk-failed", "power-lost"];
/** All leases of a shard together, and of a lane the part that may be leased. */
const LEASED_PACKETS_MAX = 256;
const LANE_FRACTION = 8;

export class Onlooker {
  readonly handOuts: HandOuts;
  private readonly world: Surroundings;
  private readonly shard: number;
  private readonly name: string;
  private readonly wall: WallClock;
  /** The worst end since the node was last up, and what it then knew to be on its disk. */
  private worstEnd: End = "stopped";
  private durableOffset = 0;
  private uncleanEnds = 0;

  constructor(world: Surroundings, shard: number, name: string, wall: WallClock) {
    this.world = world;
    this.shard = shard;
    this.name = name;
    this.wall = wall;
    this.handOuts = new HandOuts(world.deck, shard, world.violations);
    this.handOuts.shows = [world.fallbackShow];
  }

  /** @param shard as the life that ended had it, if it came so far */
  ended(end: End, shard: Shard | undefined): void {
    if (ENDS.indexOf(end) > ENDS.indexOf(this.worstEnd)) this.worstEnd = end;
    if (end !== "stopped") this.uncleanEnds++;
    if (shard !== undefined) this.durableOffset = shard.journal.durableOffset;
    this.world.log.add(this.name, `is gone: ${end}`);
    this.world.tallies.count(`node ${end}`);
  }

  /** The machine had no power, though no program was running. */
  lostPower(): void {
    this.worstEnd = "power-lost";
    this.world.log.add(this.name, "lost power");
  }

  /** The node is up again: it knows what it must, and has burned no more than it may. */
  recovered({ shard, burnedNow }: OpenedShard): void {
    const { world, name, worstEnd: end, durableOffset, uncleanEnds } = this;
    const { book, programme, channels } = shard;
    world.log.add(name, `recovered, having ${end}: ${burnedNow} burned, ${book.claimed} claimed`);
    world.tallies.count("burned packets", burnedNow);
    const isCalledFor = end !== "stopped" || burnedNow === 0;
    world.violations.expect(isCalledFor, `${name} burned ${burnedNow} packets after a clean stop`);
    const shares = channels.map(({ packets }) => Math.ceil(packets / LANE_FRACTION));
    const most = Math.min(LEASED_PACKETS_MAX, sum(shares));
    const burned = sum(book.lanes.map((lane) => lane.burned));
    world.violations.expect(
      burnedNow <= most && burned <= most * uncleanEnds,
      `${name} burned ${burnedNow} packets at once and ${burned} in ${uncleanEnds} crashes`,
    );
    this.handOuts.restarted(book, end, durableOffset);
    world.claims.restarted(this.shard, book, end, durableOffset);
    this.holdShow(programme.version);
    // A push that was under way when the last life ended never comes to an end.
    this.handOuts.shows.splice(1);
    this.worstEnd = "stopped";
    this.durableOffset = shard.journal.durableOffset;
  }

  /** @param end the journal's offset behind the frame */
  appended(frame: Frame, end: number): void {
    const { world, shard, name } = this;
    if (frame.type === "issue") {
      world.log.add(name, `issues ${frame.lane}:${frame.position} to ${frame.user} at ${end}`);
      this.handOuts.issued(frame, end, { wallMs: this.wall.nowMs, nowMs: world.scheduler.nowMs });
    } else if (frame.type === "claim") {
      world.log.add(name, `claims ${frame.serial} for ${frame.user} at ${end}`);
      world.claims.recorded(shard, frame.serial, frame, end);
    } else if (frame.type === "acknowledged") {
      world.log.add(name, `is acknowledged up to ${frame.upTo}`);
      world.ledger.vouched(shard, Buffer.from(frame.ledgerId).toString("hex"), frame.upTo);
    }
  }

  shaken(asked: AskedShake, answer: ShakeAnswer | "key-reused", quotaKey: Uint8Array): void {
    const { world } = this;
    const outcome = answer === "key-reused" ? answer : answer.outcome;
    world.tallies.count(`shake ${outcome}`);
    world.log.add(this.name, `shake of ${asked.user}: ${outcome}`);
    // A client here repeats a key only with the request that it belongs to.
    world.violations.expect(
      answer !== "key-reused",
      `${asked.user} was told that it had used its key before`,
    );
    if (answer === "key-reused") return;
    if (answer.outcome === "packet") this.handOuts.answered(asked, answer, quotaKey);
    if (answer.outcome === "limit") this.handOuts.limited(asked.user, world.everGivenTo(asked.user));
  }

  opened(request: OpenRequest, answer: OpenAnswer): void {
    const { world, handOuts, shard } = this;
    const what = typeof answer === "string" ? answer : `${answer.packet} ${answer.cents}`;
    world.log.add(this.name, `opens for ${request.user}: ${what}`);
    world.claims.answered(request, answer, { handOuts, shard, wallMs: this.wall.nowMs });
  }

  /** @param show what was pushed, if the operator has signed it: from now on the node may hold it */
  pushed(show: Show | undefined): void {
    if (show !== undefined) this.handOuts.shows.push(show);
  }

  /** @param version what the node holds now */
  answeredPush(show: Show | undefined, answer: string, version: number | null): void {
    const { world, name } = this;
    world.log.add(name, `push of ${show?.version ?? "a strange show"}: ${answer}`);
    world.violations.expect(
      answer !== "taken" || show !== undefined,
      `${name} took a show that nobody signed`,
    );
    if (show !== undefined) this.holdShow(version);
  }

  /** A batch leaves for the queue. */
  sent(wireKey: Uint8Array, bytes: Uint8Array): void {
    const batch = decodeBatch(wireKey, bytes);
    invariant(batch !== undefined, "a node's own batch is authentic");
    const serials = batch.claims.map(({ token }) => tokenSerial(token));
    this.world.ledger.sentTo(Buffer.from(batch.forLedger).toString("hex"), this.shard, serials);
  }

  /** An engineer is called for a reason, or soon not at all. */
  alarmed(message: string): void {
    const { wasLost, wasRestored } = this.world.ledger;
    const reasons: Readonly<Record<string, boolean>> = {
      "two ledgers answer": wasLost,
      "was replaced by": wasLost,
      "vouches for this journal only up to": wasRestored,
    };
    const kind = Object.keys(reasons).find((words) => message.includes(words)) ?? "another";
    this.world.violations.expect(reasons[kind] === true, `false alarm: ${message}`);
    this.world.tallies.count(`alarm: ${kind}`);
    this.world.log.add(this.name, `alarm: ${kind}`);
  }

  /** The node holds this version, and none that is older. */
  private holdShow(version: number | null): void {
    const { handOuts, name, world } = this;
    const held = handOuts.shows.filter((show) => (show?.version ?? null) === version);
    world.violations.expect(held.length > 0, `${name} holds show ${version}, which it did not take`);
    const newer = handOuts.shows.filter((show) => (show?.version ?? 0) > (version ?? 0));
    handOuts.shows = [held[0], ...newer];
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
