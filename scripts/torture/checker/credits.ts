/**
 * What was paid, held against the sealed tokens and against those who claimed: each packet once, its own cents, to
 * the user who opened it; and double entry as far as money can be followed: what left the escrow for a packet came
 * to its winner, and nothing else moved.
 */
import type { Answers } from "./answers.ts";
import type { Faults } from "./faults.ts";
import { LedgerRows } from "./ledger-rows.ts";
import { nameHash } from "./name-hash.ts";
import type { Packets } from "./packets.ts";

export class Credits {
  credited = 0;
  creditedCents = 0;
  /** Times a packet was credited. */
  readonly times: Uint8Array;
  /** 1: refused because its user had had its share, which the ledger's credits prove. */
  readonly overQuota: Uint8Array;
  private readonly users: Float64Array;
  private readonly packets: Packets;
  private readonly answers: Answers;
  private readonly faults: Faults;

  constructor(packets: Packets, answers: Answers, faults: Faults) {
    this.packets = packets;
    this.answers = answers;
    this.faults = faults;
    this.times = new Uint8Array(packets.count);
    this.overQuota = new Uint8Array(packets.count);
    this.users = new Float64Array(packets.count);
  }

  read(path: string): void {
    const ledger = new LedgerRows(path);
    try {
      for (const row of ledger.credits()) this.credit(...row);
      this.holdPostings(ledger);
      this.holdBalances(ledger);
      this.holdQuotas(ledger);
    } finally {
      ledger.close();
    }
  }

  private credit(
    epoch: number,
    shard: number,
    serial: number,
    cents: number,
    ad: number,
    user: string,
    device: string,
  ): void {
    const { answers, packets } = this;
    this.credited++;
    this.creditedCents += cents;
    const number = packets.number(epoch, shard, serial);
    if (number === undefined) {
      this.unexpected(`credit of ${epoch}-${shard}-${serial}: no such packet`);
      return;
    }
    const name = packets.name(number);
    this.times[number] = (this.times[number] ?? 0) + 1;
    if (this.times[number] > 1) this.faults.add("duplicated", `packet ${name} is credited again, to ${user}`);
    this.users[number] = nameHash(user);
    if (cents !== packets.cents[number] || ad !== packets.ads[number])
      this.unexpected(`credit of ${name}: ${cents} cents of ad ${ad}, sealed are ${packets.cents[number]}`);
    if (!answers.isAttempted(number)) this.unexpected(`credit of ${name}: no client has opened it`);
    else if (answers.holders[number] !== nameHash(user, device))
      this.unexpected(`credit of ${name}: paid to ${user}, who was not given it`);
  }

  /** The funding stands under packet 0-0-0, which cannot be: epochs begin with 1. */
  private holdPostings(ledger: LedgerRows): void {
    const paid = { debit: new Uint8Array(this.packets.count), credit: new Uint8Array(this.packets.count) };
    for (const [epoch, shard, serial, side, cents, kind, owner] of ledger.postings()) {
      const number = this.packets.number(epoch, shard, serial);
      if (number === undefined) {
        if (epoch !== 0 || cents !== this.packets.manifest.budgetCents)
          this.unexpected(`a posting of ${epoch}-${shard}-${serial}: no such packet`);
        continue;
      }
      const column = side === "debit" ? paid.debit : paid.credit;
      column[number] = (column[number] ?? 0) + 1;
      const isRight =
        cents === this.packets.cents[number] &&
        (side === "debit"
          ? kind === "escrow"
          : kind === "wallet" && nameHash(owner ?? "") === this.users[number]);
      if (!isRight)
        this.unexpected(`packet ${this.packets.name(number)}: its ${side} of ${cents} cents is wrong`);
    }
    for (let number = 0; number < this.packets.count; number++) {
      const [debits, credits, times] = [paid.debit[number], paid.credit[number], this.times[number]];
      if (credits !== undefined && credits > 1)
        this.faults.add("duplicated", `packet ${this.packets.name(number)} was paid ${credits} times`);
      if (debits !== times || credits !== times)
        this.unexpected(`packet ${this.packets.name(number)}: credits are not debits`);
    }
  }

  private holdBalances(ledger: LedgerRows): void {
    const { budgetCents } = this.packets.manifest;
    const due = new Map([
      ["sponsor", -budgetCents],
      ["escrow", budgetCents - this.creditedCents],
      ["wallet", this.creditedCents],
    ]);
    for (const [kind, cents] of ledger.balances())
      if (cents !== due.get(kind)) this.unexpected(`${kind}: ${cents} cents, not ${due.get(kind)}`);
  }

  /** Credits are never taken back, so a user that was full is full: a refusal for that can be proved at any time. */
  private holdQuotas(ledger: LedgerRows): void {
    const { perUser, perAd } = this.packets.manifest.quota;
    const full = new FullUsers(perUser, perAd);
    for (const [user, ad, packets] of ledger.winnings()) {
      const over = full.add(user, ad, packets);
      if (over) this.unexpected(`user ${user} was paid for ${over}, more than the quota`);
    }
    for (const [epoch, shard, serial, reason, user] of ledger.rejections()) {
      const number = this.packets.number(epoch, shard, serial);
      if (number === undefined || reason !== "over-quota") continue;
      const ad = this.packets.ads[number] ?? 0;
      if (this.answers.users[number] !== nameHash(user)) continue;
      if (full.has(user, ad)) this.overQuota[number] = 1;
      else this.unexpected(`packet ${this.packets.name(number)} was refused as over quota, which it is not`);
    }
  }

  private unexpected(what: string): void {
    this.faults.add("unexpected", what);
  }
}

/** Users who have all that they may have, in all or of one ad. Rows come user by user. */
class FullUsers {
  private readonly perUser: number;
  private readonly perAd: number;
  private readonly full = new Set<number>();
  private user = "";
  private total = 0;

  constructor(perUser: number, perAd: number) {
    this.perUser = perUser;
    this.perAd = perAd;
  }

  /** @returns what the user has beyond a quota, in words */
  add(user: string, ad: number, packets: number): string | undefined {
    this.total = user === this.user ? this.total + packets : packets;
    this.user = user;
    if (this.total >= this.perUser) this.full.add(nameHash(user));
    if (packets >= this.perAd) this.full.add(nameHash(user, `${ad}`));
    if (packets > this.perAd) return `${packets} packets of ad ${ad}`;
    return this.total > this.perUser ? `${this.total} packets` : undefined;
  }

  has(user: string, ad: number): boolean {
    return this.full.has(nameHash(user)) || this.full.has(nameHash(user, `${ad}`));
  }
}
