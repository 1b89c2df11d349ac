/**
 * The place where the one ledger lies, as a real SQLite file (in memory, where the machine has such a file system):
 * its copies, its loss, and an onlooker who holds what stands in it against what was claimed.
 */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { invariant } from "../../../core/format/error.ts";
import type { Violations } from "../experiment.ts";
import type { Claims } from "./claims.ts";
import type { Deck } from "./deck.ts";

interface Credit {
  readonly shard: number;
  readonly serial: number;
  readonly cents: number;
  readonly ad: number;
  readonly user: string;
  readonly device: string;
}

interface Rejection extends Credit {
  readonly reason: string;
}

const MEMORY = "/dev/shm";

export class LedgerPlace {
  readonly path: string;
  private readonly dir: string;
  private readonly deck: Deck;
  private readonly violations: Violations;
  private readonly claims: Claims;
  private opened: Opened | undefined;
  private made = 0;
  private restored = 0;
  private copies: Buffer[] = [];
  /** Packets that a ledger of this name (hex) has ever answered, in any of its copies. */
  private readonly answered = new Map<string, Set<string>>();
  /** Packets whose claims were sent to a ledger of this name (hex). */
  private readonly addressed = new Map<string, Set<string>>();
  private seen = new Set<string>();

  constructor(deck: Deck, claims: Claims, violations: Violations) {
    this.dir = join(existsSync(MEMORY) ? MEMORY : tmpdir(), `hongbao-ledger-${randomUUID()}`);
    mkdirSync(this.dir);
    this.path = join(this.dir, "ledger.db");
    this.deck = deck;
    this.claims = claims;
    this.violations = violations;
    this.makeNew();
  }

  /** A new ledger where none is. @returns false if there are none left to be made */
  makeNew(): boolean {
    const bytes = this.deck.ledgers[this.made];
    if (bytes === undefined) return false;
    this.made++;
    this.copies = [];
    this.put(bytes);
    return true;
  }

  /** Another one was made in the place of the first. */
  get wasLost(): boolean {
    return this.made > 1;
  }

  /** An older copy was put back. */
  get wasRestored(): boolean {
    return this.restored > 0;
  }

  /** Keeps a copy of the ledger as it is. */
  backUp(): void {
    this.copies.push(this.open().db.serialize());
  }

  /** Puts an older copy in the ledger's place. @returns whether there was one */
  restore(pick: (copies: readonly Buffer[]) => Buffer): boolean {
    if (this.copies.length === 0) return false;
    this.look();
    this.restored++;
    this.put(pick(this.copies));
    return true;
  }

  /** Every credit is a claim's, with the mint's cents, and stays; what was paid is missing from the escrow. */
  look(): void {
    const file = this.open();
    const version = file.version.get();
    if (version === file.seenVersion) return;
    file.seenVersion = version;
    let paidCents = 0;
    const now = new Set<string>();
    const credits = file.credits.all();
    this.holdQuota(credits);
    for (const { shard, serial, cents, ad, user, device } of credits) {
      paidCents += cents;
      const packet = `${shard}-${serial}`;
      this.violations.expect(!now.has(packet), `packet ${packet} was credited twice`);
      now.add(packet);
      const claim = this.claims.of(shard).get(serial);
      const isClaimed = claim?.user === user && claim.device === device;
      this.violations.expect(isClaimed, `packet ${packet} was credited to ${user}, who never claimed it`);
      const isTrue = claim === undefined || (claim.card.cents === cents && claim.card.ad === ad);
      this.violations.expect(isTrue, `packet ${packet} was credited with ${cents} cents`);
    }
    const heldCents = file.escrowCents.get();
    const { budgetCents } = this.deck.manifest;
    this.violations.expect(
      heldCents === budgetCents - paidCents,
      `the escrow holds ${heldCents} of ${budgetCents} cents, with ${paidCents} paid`,
    );
    for (const packet of this.seen)
      this.violations.expect(now.has(packet), `the credit of packet ${packet} has vanished`);
    this.seen = now;
    const answers = this.answersOf(file.ledgerId);
    const addressed = this.addressed.get(file.ledgerId);
    for (const packet of now) {
      answers.add(packet);
      const isMeant = addressed?.has(packet) === true;
      this.violations.expect(isMeant, `packet ${packet} was credited by a ledger that nobody had sent it to`);
    }
    for (const { shard, serial } of file.rejections.all()) answers.add(`${shard}-${serial}`);
  }

  /** However a user came by its packets, it is paid no more than its quota. */
  private holdQuota(credits: readonly Credit[]): void {
    const { perUser, perAd } = this.deck.manifest.quota;
    const paid = new Map<string, number>();
    for (const { user, ad } of credits)
      for (const [share, most] of [
        [user, perUser],
        [`${user} of ad ${ad}`, perAd],
      ] as const) {
        const packets = (paid.get(share) ?? 0) + 1;
        paid.set(share, packets);
        this.violations.expect(packets <= most, `${share} was credited ${packets} packets`);
      }
  }

  /** A node sends claims to the ledger of this name (hex). */
  sentTo(ledgerId: string, shard: number, serials: readonly number[]): void {
    const addressed = this.addressed.get(ledgerId) ?? new Set();
    this.addressed.set(ledgerId, addressed);
    for (const serial of serials) addressed.add(`${shard}-${serial}`);
  }

  /** The forwarder of a shard says that this ledger has answered every claim below `upTo`. */
  vouched(shard: number, ledgerId: string, upTo: number): void {
    this.look();
    const answers = this.answersOf(ledgerId);
    for (const [serial, { end }] of this.claims.of(shard))
      this.violations.expect(
        end > upTo || answers.has(`${shard}-${serial}`),
        `shard ${shard} takes its claims up to ${upTo} for settled, and packet ${serial} is not`,
      );
  }

  /** After everything has come to rest: acknowledged is credited, or was rightly too much. */
  settle(): { credited: number; creditedCents: number; overQuota: number } {
    this.look();
    const credits = this.open().credits.all();
    const rejections = this.open().rejections.all();
    const { perUser, perAd } = this.deck.manifest.quota;
    for (const { card, user, isAcknowledged } of this.claims.all) {
      const { shard, serial, ad } = card;
      if (credits.some((row) => row.shard === shard && row.serial === serial)) continue;
      const refusal = rejections.find((row) => row.shard === shard && row.serial === serial);
      const won = credits.filter((row) => row.user === user);
      const isTooMuch = won.length >= perUser || won.filter((row) => row.ad === ad).length >= perAd;
      const isRight = refusal?.reason === "over-quota" && refusal.user === user && isTooMuch;
      const what = isAcknowledged ? "was acknowledged" : "was claimed";
      this.violations.expect(isRight, `packet ${shard}-${serial} of ${user} ${what} and is not credited`);
    }
    for (const { shard, serial, reason } of rejections)
      this.violations.expect(reason === "over-quota", `packet ${shard}-${serial} was rejected as ${reason}`);
    const creditedCents = credits.reduce((sum, { cents }) => sum + cents, 0);
    return { credited: credits.length, creditedCents, overQuota: rejections.length };
  }

  bytes(): Buffer {
    return this.open().db.serialize();
  }

  remove(): void {
    this.opened?.db.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** The file of a ledger that nobody has open: with what SQLite had beside the one before it removed. */
  private put(bytes: Buffer): void {
    this.opened?.db.close();
    this.opened = undefined;
    for (const suffix of ["", "-wal", "-shm"]) rmSync(`${this.path}${suffix}`, { force: true });
    writeFileSync(this.path, bytes);
    this.seen = new Set();
  }

  private open(): Opened {
    this.opened ??= openFile(this.path);
    return this.opened;
  }

  private answersOf(ledgerId: string): Set<string> {
    const known = this.answered.get(ledgerId) ?? new Set();
    this.answered.set(ledgerId, known);
    return known;
  }
}

/** An onlooker's connection, with what it asks again and again. */
interface Opened {
  readonly db: Database.Database;
  /** Of the ledger, hex. */
  readonly ledgerId: string;
  readonly credits: Database.Statement<[], Credit>;
  readonly rejections: Database.Statement<[], Rejection>;
  readonly escrowCents: Database.Statement<[], number>;
  /** Changes with every transaction of somebody else. */
  readonly version: Database.Statement<[], number>;
  seenVersion: number | undefined;
}

function openFile(path: string): Opened {
  const db = new Database(path, { fileMustExist: true });
  const columns = "shard, serial, cents, ad, user, device";
  const ledgerId = db.prepare<[], string>("SELECT lower(hex(ledger_id)) FROM ledger").pluck().get();
  invariant(ledgerId !== undefined, "a ledger has a name");
  return {
    db,
    ledgerId,
    credits: db.prepare(`SELECT ${columns} FROM credit`),
    rejections: db.prepare(`SELECT ${columns}, reason FROM rejection`),
    escrowCents: db.prepare<[], number>("SELECT balance_cents FROM account WHERE kind = 'escrow'").pluck(),
    version: db.prepare<[], number>("PRAGMA data_version").pluck(),
    seenVersion: undefined,
  };
}
