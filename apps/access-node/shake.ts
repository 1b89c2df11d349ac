/**
 * Shake: the hot path. One synchronous step decides and takes; only a lease or a block on its way, and the
 * write of the hand-out record, are waited for. A packet is used up by nothing but a packet answer.
 *
 * Order: idempotent replay, expired or over, countdown, limit, draw and pace, take.
 */
import { createHash } from "node:crypto";
import { invariant } from "../../core/format/error.ts";
import type { Frame } from "../../core/format/frame.ts";
import {
  addWon,
  mergeWon,
  openQuota,
  sealPass,
  WON_ENTRIES_MAX,
  type Won,
  wonInAll,
  wonOfAd,
} from "../../core/format/pass.ts";
import type { Round } from "../../core/format/show.ts";
import { encodeToken, tokenSerial } from "../../core/format/token.ts";
import { airOf } from "./air.ts";
import type { Answered } from "./book.ts";
import type { Channel, Taken } from "./channel.ts";
import { Pacer } from "./pacer.ts";
import type { Shard } from "./shard.ts";

export interface ShakeRequest {
  readonly user: string;
  readonly device: string;
  readonly pass?: string | undefined;
}

export interface PacketAnswer {
  readonly outcome: "packet";
  readonly token: string;
  readonly ad: number;
  readonly pass: string;
}

export type ShakeAnswer =
  | PacketAnswer
  | { readonly outcome: "greeting" | "limit" | "over" }
  | { readonly outcome: "countdown"; readonly startsAt: string | null };

/** Takes of one shake before it gives up on lanes that are always just emptied by others. */
const TAKES_MAX = 8;

export class Shaker {
  private readonly shard: Shard;
  private readonly pacers = new Map<string, Pacer>();
  private pacedVersion: number | null = null;
  /** Keyed requests under way: concurrent twins share one answer. */
  private readonly twins = new Map<string, { body: string; answer: Promise<ShakeAnswer> }>();

  constructor(shard: Shard) {
    this.shard = shard;
  }

  /**
   * @param idempotencyKey the request's Idempotency-Key, if it has one
   * @returns the answer, or "key-reused" for a key that was used with another body
   */
  async shake(request: ShakeRequest, idempotencyKey?: string): Promise<ShakeAnswer | "key-reused"> {
    if (idempotencyKey === undefined) return await this.draw(request, undefined);
    const key = digest(request.user, request.device, idempotencyKey);
    const body = digest(request.user, request.device, request.pass ?? "");
    const twin = this.twins.get(key.hex);
    if (twin) return twin.body === body.hex ? await twin.answer : "key-reused";
    const answered = this.shard.book.answered(key.hex);
    if (answered && answered.body !== body.hex) return "key-reused";
    const answer = answered
      ? this.repeat(request, answered)
      : this.draw(request, { key: key.bytes, body: body.bytes });
    this.twins.set(key.hex, { body: body.hex, answer });
    try {
      return await answer;
    } finally {
      this.twins.delete(key.hex);
    }
  }

  private async draw(
    request: ShakeRequest,
    keyed: { key: Uint8Array; body: Uint8Array } | undefined,
  ): Promise<ShakeAnswer> {
    const claimed =
      request.pass === undefined ? undefined : openQuota(this.shard.quotaKey, request.user, request.pass);
    let luck: ReadonlySet<Round> | undefined;
    for (let takes = 0; takes < TAKES_MAX; takes++) {
      const nowMs = this.shard.clock.wallMs();
      const air = airOf(this.shard, nowMs);
      if (air.state === "over") return { outcome: "over" };
      if (air.state === "countdown")
        return { outcome: "countdown", startsAt: new Date(air.startsAtMs).toISOString() };
      if (air.state !== "open") return { outcome: "countdown", startsAt: null };

      const won = mergeWon(this.shard.book.wonBy(request.user), claimed ?? []);
      const stocked = this.shard.channels.filter(
        (c) => c.left > 0 && air.rounds.some((r) => r.ads.includes(c.ad)),
      );
      const open = stocked.filter((channel) => this.mayWin(won, channel.ad));
      if (stocked.length > 0 && open.length === 0) return { outcome: "limit" };

      luck ??= new Set(air.rounds.filter((round) => this.shard.dice() < round.hitProbability));
      const round = air.rounds.find(
        (r) => luck?.has(r) && this.paced(r) && open.some((c) => r.ads.includes(c.ad)),
      );
      if (round === undefined) return { outcome: "greeting" };
      const channel = this.pick(open.filter((c) => round.ads.includes(c.ad)));
      const taken = channel.tryTake();
      if (typeof taken === "object") {
        this.pacers.get(round.id)?.spend();
        return await this.handOut(
          request,
          taken,
          nowMs,
          addWon(won, { ...this.shard.identity, ad: taken.ad }),
          keyed,
        );
      }
      if (taken === "closed") return { outcome: "greeting" };
      if (taken === "wait") await channel.ready();
    }
    return { outcome: "greeting" };
  }

  /**
   * The record is written before the answer leaves: a restarted node rebuilds what it had promised.
   * @param atMs wall time for which the packet was allowed to leave
   */
  private async handOut(
    request: ShakeRequest,
    taken: Taken,
    atMs: number,
    won: Won,
    keyed: { key: Uint8Array; body: Uint8Array } | undefined,
  ): Promise<PacketAnswer> {
    const { lane, position } = taken;
    const serial = tokenSerial(taken.token);
    const { user, device } = request;
    const issue: Frame = {
      type: "issue",
      lane,
      position,
      serial,
      atMs,
      user,
      device,
      won,
      ...(keyed && { request: keyed }),
    };
    // If we die before this is written, nobody has the answer and the lease burns the packet.
    await this.shard.journal.written(this.shard.append(issue));
    return this.answer(request, taken.token, taken.ad, won);
  }

  private async repeat(request: ShakeRequest, answered: Answered): Promise<PacketAnswer> {
    const channel = this.shard.channels[answered.lane];
    const feed = this.shard.feeds[answered.lane];
    invariant(channel !== undefined && feed !== undefined, "an answered request names a lane of the shard");
    const token = await feed.reread(answered.position);
    invariant(tokenSerial(token) === answered.serial, "a position holds the packet that was issued from it");
    await this.shard.journal.written(this.shard.journal.appendedOffset);
    return this.answer(request, token, channel.ad, answered.won);
  }

  private answer(request: ShakeRequest, token: Uint8Array, ad: number, won: Won): PacketAnswer {
    const packet = { ...this.shard.identity, serial: tokenSerial(token) };
    const pass = sealPass({ receipt: this.shard.keys.receipt, quota: this.shard.quotaKey }, request, {
      packet,
      won,
    });
    return { outcome: "packet", token: encodeToken(token), ad, pass };
  }

  private mayWin(won: Won, ad: number): boolean {
    const { perUser, perAd } = this.shard.manifest.quota;
    return wonInAll(won) < perUser && wonOfAd(won, ad) < perAd && won.length < WON_ENTRIES_MAX;
  }

  private paced(round: Round): boolean {
    if (round.packetsPerSecond === undefined) return true;
    const { version } = this.shard.programme;
    if (version !== this.pacedVersion) {
      this.pacers.clear();
      this.pacedVersion = version;
    }
    const nowMs = this.shard.clock.monotonicMs();
    let pacer = this.pacers.get(round.id);
    if (pacer === undefined) {
      pacer = new Pacer(round.packetsPerSecond * this.shard.shareOfCampaign, nowMs);
      this.pacers.set(round.id, pacer);
    }
    return pacer.allows(nowMs);
  }

  /** A lane by its stock: sponsors' packets run out together. */
  private pick(channels: readonly Channel[]): Channel {
    const stock = channels.reduce((sum, channel) => sum + channel.left, 0);
    let at = this.shard.dice() * stock;
    for (const channel of channels) {
      at -= channel.left;
      if (at < 0) return channel;
    }
    const last = channels.at(-1);
    invariant(last !== undefined, "a round on air has a lane to take from");
    return last;
  }
}

/** 16 bytes of SHA-256 over length-prefixed texts. */
function digest(...texts: string[]): { bytes: Buffer; hex: string } {
  const hash = createHash("sha256");
  for (const text of texts) hash.update(`${Buffer.byteLength(text)}:`).update(text);
  const bytes = hash.digest().subarray(0, 16);
  return { bytes, hex: bytes.toString("hex") };
}
