/**
 * What was opened, as an onlooker writes it down, and what must hold of it: the amount is the mint's; what a node has
 * acknowledged it knows for ever, whatever becomes of its machine; in the end each acknowledged open is in the ledger
 * once, with the cents that were shown.
 */
import type { Book } from "../../../apps/access-node/book.ts";
import type { OpenAnswer, OpenRequest } from "../../../apps/access-node/open.ts";
import { formatPacket } from "../../../core/format/packet.ts";
import type { Violations } from "../experiment.ts";
import type { Card, Deck } from "./deck.ts";
import type { End, HandOuts } from "./hand-outs.ts";

export interface Claimed {
  readonly card: Card;
  readonly user: string;
  readonly device: string;
  /** Journal offset behind its record. */
  readonly end: number;
  isAcknowledged: boolean;
}

export class Claims {
  private readonly deck: Deck;
  private readonly violations: Violations;
  /** Of each shard, by serial. */
  private readonly claimed: Map<number, Claimed>[];

  constructor(deck: Deck, violations: Violations) {
    this.deck = deck;
    this.violations = violations;
    this.claimed = deck.cards.map(() => new Map());
  }

  of(shard: number): ReadonlyMap<number, Claimed> {
    return this.claimed[shard] ?? new Map();
  }

  get all(): Claimed[] {
    return this.claimed.flatMap((shard) => [...shard.values()]);
  }

  /** A claim's record, in the moment in which the node appends it. */
  recorded(shard: number, serial: number, holder: { user: string; device: string }, end: number): void {
    const card = this.deck.cards[shard]?.[serial];
    const before = this.of(shard).get(serial);
    this.violations.expect(before === undefined, `${name(shard, serial)} was claimed a second time`);
    if (card === undefined) {
      this.violations.add(`${name(shard, serial)} was claimed and never minted`);
      return;
    }
    const { user, device } = holder;
    this.claimed[shard]?.set(serial, { card, user, device, end, isAcknowledged: false });
  }

  /** An answer that leaves the node. */
  answered(
    request: OpenRequest,
    answer: OpenAnswer,
    at: { handOuts: HandOuts; shard: number; wallMs: number },
  ): void {
    const card = this.deck.byToken.get(request.token);
    const isHere = card?.shard === at.shard;
    const handOut = isHere ? at.handOuts.bySerial.get(card.serial) : undefined;
    const isOurs =
      handOut?.user === request.user &&
      handOut.device === request.device &&
      handOut.answer !== undefined &&
      handOut.answer.pass === request.pass;
    if (answer === "invalid-token") {
      this.violations.expect(!isHere, `a genuine token of shard ${at.shard} was no token`);
      return;
    }
    if (answer === "not-yours") {
      this.violations.expect(!isOurs, `${request.user} was refused its own packet`);
      return;
    }
    if (card === undefined) {
      this.violations.add("a token that was never minted was opened");
      return;
    }
    const what = name(card.shard, card.serial);
    this.violations.expect(isOurs, `${what} was opened by ${request.user} with a pass that is not its own`);
    const claim = this.of(at.shard).get(card.serial);
    if (answer === "expired") {
      const isLate = at.wallMs >= Date.parse(this.deck.manifest.expiresAt);
      this.violations.expect(isLate && !claim?.isAcknowledged, `${what} was refused as expired`);
      return;
    }
    const isTrue = answer.packet === id(card) && answer.cents === card.cents && answer.ad === card.ad;
    this.violations.expect(isTrue, `${what} was shown as ${JSON.stringify(answer)}`);
    if (claim === undefined) this.violations.add(`${what} was acknowledged without a claim`);
    else claim.isAcknowledged = true;
  }

  /** The node is up again. @param durableOffset what it knew to be on the disk when it ended */
  restarted(shard: number, book: Book, end: End, durableOffset: number): void {
    for (const [serial, claim] of this.of(shard)) {
      if (book.isClaimed(serial)) continue;
      const mustBeKnown = claim.isAcknowledged || claim.end <= durableOffset;
      this.violations.expect(
        !mustBeKnown,
        `the node was ${end} and has lost the claim of ${claim.user} to ${name(shard, serial)}`,
      );
      this.claimed[shard]?.delete(serial);
    }
  }
}

function id({ shard, serial }: Card): string {
  return formatPacket({ epoch: 1, shard, serial });
}

function name(shard: number, serial: number): string {
  return `packet 1-${shard}-${serial}`;
}
