/**
 * What one shard's node has handed out, as an onlooker writes it down, and what must hold of it: a packet goes to one
 * user, ever; a keyed answer is repeated to the letter; nothing leaves off the air, above the pace or over the quota.
 *
 * A hand-out that was not synced may be forgotten by a power loss. Its packet is then nobody else's, ever.
 */
import type { Book } from "../../../apps/access-node/book.ts";
import type { Frame } from "../../../core/format/frame.ts";
import type { Manifest } from "../../../core/format/manifest.ts";
import { openQuota, wonInAll, wonOfAd } from "../../../core/format/pass.ts";
import type { Show } from "../../../core/format/show.ts";
import type { Violations } from "../experiment.ts";
import type { Card, Deck } from "./deck.ts";

/** How a life ended: what it wrote but did not sync is still there after a kill, and may be gone after the others. */
export type End = "stopped" | "killed" | "disk-failed" | "power-lost";

type Issue = Extract<Frame, { type: "issue" }>;

interface HandOut {
  readonly card: Card;
  readonly user: string;
  readonly device: string;
  /** Journal offset behind its record. */
  readonly end: number;
  /** Hash of the Idempotency-Key, hex. */
  readonly key: string | undefined;
  answer: { readonly token: string; readonly pass: string } | undefined;
  isForgotten: boolean;
}

export interface AskedShake {
  readonly user: string;
  readonly device: string;
  readonly key: string | undefined;
  readonly pass: string | undefined;
}

export class HandOuts {
  /** Show configs that the node may hold: more than one while a push is under way. */
  shows: (Show | undefined)[] = [undefined];
  readonly bySerial = new Map<number, HandOut>();
  private readonly deck: Deck;
  private readonly shard: number;
  private readonly violations: Violations;
  private readonly promised = new Map<string, HandOut>();
  private readonly buckets = new Map<string, { packets: number; atMs: number }>();

  constructor(deck: Deck, shard: number, violations: Violations) {
    this.deck = deck;
    this.shard = shard;
    this.violations = violations;
  }

  /** A hand-out record, in the moment in which the node appends it. */
  issued(issue: Issue, end: number, at: { wallMs: number; nowMs: number }): void {
    const { serial, user, device } = issue;
    const card = this.deck.cards[this.shard]?.[serial];
    const name = this.name(serial);
    const isHere = card?.lane === issue.lane && card.position === issue.position;
    this.violations.expect(isHere, `${name} was issued from a place where it does not lie`);
    const before = this.bySerial.get(serial);
    this.violations.expect(
      before === undefined,
      `${name} was issued to ${before?.user}, and then to ${user}`,
    );
    if (card === undefined) return;
    this.holdQuota(card, user);
    this.holdAir(card, issue.atMs, at);
    const key = issue.request && Buffer.from(issue.request.key).toString("hex");
    const handOut = { card, user, device, end, key, answer: undefined, isForgotten: false };
    this.bySerial.set(serial, handOut);
  }

  /** A packet answer that leaves the node. */
  answered(asked: AskedShake, answer: { token: string; pass: string }, quotaKey: Uint8Array): void {
    const { user, device, key } = asked;
    const card = this.deck.byToken.get(answer.token);
    const handOut = card?.shard === this.shard ? this.bySerial.get(card.serial) : undefined;
    if (card === undefined || handOut === undefined) {
      this.violations.add(`${user} was given a token that was never issued`);
      return;
    }
    const name = this.name(card.serial);
    this.violations.expect(handOut.user === user, `${name} of ${handOut.user} was given to ${user}`);
    const promise = key === undefined ? undefined : `${user} ${device} ${key}`;
    const before = promise === undefined ? undefined : this.promised.get(promise);
    const first = handOut.answer;
    if (before === undefined) this.violations.expect(first === undefined, `${name} answered two requests`);
    else {
      const isSame = before.answer?.token === answer.token && before.answer.pass === answer.pass;
      this.violations.expect(isSame, `the repeated request ${promise} had another answer than at first`);
    }
    handOut.answer = answer;
    if (promise !== undefined) this.promised.set(promise, handOut);
    if (before === undefined) this.holdPass(asked, handOut, answer.pass, quotaKey);
  }

  /** A refusal: the user must have had its share. @param won what it was ever given, anywhere */
  limited(user: string, won: readonly Card[]): void {
    const { quota, ads } = this.deck.manifest;
    const isUsedUp =
      won.length >= quota.perUser ||
      ads.some(({ id }) => won.filter(({ ad }) => ad === id).length >= quota.perAd);
    this.violations.expect(isUsedUp, `${user} was told that its share is used up at ${won.length} packets`);
  }

  /** The node is up again: what it must still know, it knows. */
  restarted(book: Book, end: End, durableOffset: number): void {
    this.buckets.clear();
    for (const handOut of this.bySerial.values()) {
      if (handOut.isForgotten) continue;
      const { card, user, key } = handOut;
      const wasWritten = (end === "killed" || end === "stopped") && handOut.answer !== undefined;
      const mustBeKnown = wasWritten || handOut.end <= durableOffset;
      const isPassed = (book.lanes[card.lane]?.cursor ?? 0) > card.position;
      const isKnown = key === undefined ? mustBeKnown : book.answered(key)?.serial === card.serial;
      this.violations.expect(
        isPassed,
        `${this.name(card.serial)} of ${user} can be issued again after the node was ${end}`,
      );
      this.violations.expect(
        isKnown || !mustBeKnown,
        `the node was ${end} and has forgotten that it gave ${this.name(card.serial)} to ${user}`,
      );
      if (!isKnown) this.forget(handOut);
    }
    for (const user of new Set([...this.bySerial.values()].map((one) => one.user)))
      for (const { ad } of this.wonBy(user)) {
        const counted = book.wonBy(user).find((entry) => entry.shard === this.shard && entry.ad === ad);
        const won = this.wonBy(user).filter((card) => card.ad === ad).length;
        this.violations.expect(
          (counted?.packets ?? 0) >= won,
          `the node was ${end} and has forgotten what ${user} won`,
        );
      }
  }

  /** What the node must count for this user. */
  wonBy(user: string): Card[] {
    return [...this.bySerial.values()]
      .filter((one) => one.user === user && !one.isForgotten)
      .map(({ card }) => card);
  }

  /** Everything that this user was ever given here. */
  everGivenTo(user: string): Card[] {
    return [...this.bySerial.values()].filter((one) => one.user === user).map(({ card }) => card);
  }

  private forget(handOut: HandOut): void {
    handOut.isForgotten = true;
    for (const [promise, one] of this.promised) if (one === handOut) this.promised.delete(promise);
  }

  private holdQuota(card: Card, user: string): void {
    const { perUser, perAd } = this.deck.manifest.quota;
    const won = this.wonBy(user);
    const isFree = won.length < perUser && won.filter(({ ad }) => ad === card.ad).length < perAd;
    this.violations.expect(isFree, `${user} was issued ${this.name(card.serial)} over its quota`);
  }

  /** A pass must count what its holder showed, and what the node itself has given. */
  private holdPass(
    { user, pass: shown }: AskedShake,
    { card, end }: HandOut,
    given: string,
    quotaKey: Uint8Array,
  ): void {
    const won = openQuota(quotaKey, user, given);
    if (won === undefined) {
      this.violations.add(`${user} was given a pass that does not open`);
      return;
    }
    const { perUser, perAd } = this.deck.manifest.quota;
    const before = (shown === undefined ? undefined : openQuota(quotaKey, user, shown)) ?? [];
    const counts = (lane: { shard: number; ad: number }) =>
      won.find(({ shard, ad }) => shard === lane.shard && ad === lane.ad)?.packets ?? 0;
    const remembers = before.every((entry) => counts(entry) >= entry.packets);
    this.violations.expect(remembers, `${user} was given a pass that forgets what the one before counted`);
    const own = [...this.bySerial.values()].filter(
      (one) => one.user === user && !one.isForgotten && one.card.ad === card.ad && one.end <= end,
    );
    this.violations.expect(counts(card) >= own.length, `${user}'s pass does not count its own packets`);
    const isWithin = wonInAll(won) <= perUser && wonOfAd(won, card.ad) <= perAd;
    this.violations.expect(isWithin, `${user} has shown passes, and won over its quota`);
  }

  private holdAir(card: Card, atMs: number, at: { wallMs: number; nowMs: number }): void {
    const name = this.name(card.serial);
    this.violations.expect(atMs === at.wallMs, `${name} was issued at another time than now`);
    this.violations.expect(atMs < Date.parse(this.deck.manifest.expiresAt), `${name} left after expiry`);
    const rounds = this.shows.flatMap((show) => (show === undefined || show.stop ? [] : show.rounds));
    const open = rounds.filter(
      (round) =>
        Date.parse(round.opensAt) <= atMs && atMs < Date.parse(round.closesAt) && round.ads.includes(card.ad),
    );
    this.violations.expect(open.length > 0, `${name} (ad ${card.ad}) left, and no round was open for it`);
    const [round] = open;
    if (this.shows.length === 1 && open.length === 1 && round?.packetsPerSecond !== undefined)
      this.holdPace(`${this.shows[0]?.version} ${round.id}`, round.packetsPerSecond, at.nowMs);
  }

  /** No more than rate x time, and 50 ms or two packets on top. */
  private holdPace(round: string, campaignPerSecond: number, nowMs: number): void {
    const perSecond = campaignPerSecond * share(this.deck.manifest, this.shard);
    const most = Math.max(2, perSecond * 0.05);
    const bucket = this.buckets.get(round) ?? { packets: most, atMs: nowMs };
    bucket.packets = Math.min(most, bucket.packets + ((nowMs - bucket.atMs) / 1000) * perSecond) - 1;
    bucket.atMs = nowMs;
    this.buckets.set(round, bucket);
    this.violations.expect(
      bucket.packets > -1e-6,
      `shard ${this.shard} was faster than round ${round} allows`,
    );
  }

  private name(serial: number): string {
    return `packet 1-${this.shard}-${serial}`;
  }
}

function share(manifest: Manifest, shard: number): number {
  return (manifest.shards[shard]?.packets ?? 0) / manifest.packets;
}
