/**
 * Open: a decryption, no lookup. Token and pass prove everything; the claim is on the disk before the user sees
 * the amount. The same token opens to the same answer for its holder for ever, and adds one record only.
 *
 * Order: token (opaque), pass, expiry, journal.
 */

import type { Claim } from "../../core/format/claim.ts";
import { formatPacket } from "../../core/format/packet.ts";
import { openReceipt } from "../../core/format/pass.ts";
import { decodeToken, tokenOpener } from "../../core/format/token.ts";
import type { Shard } from "./shard.ts";

export interface OpenRequest {
  readonly token: string;
  readonly user: string;
  readonly device: string;
  readonly pass?: string | undefined;
}

export type OpenAnswer =
  | { readonly packet: string; readonly cents: number; readonly ad: number; readonly status: "crediting" }
  | "invalid-token"
  | "not-yours"
  | "expired";

export class Opener {
  private readonly shard: Shard;
  private readonly openToken: ReturnType<typeof tokenOpener>;
  private readonly ads: ReadonlySet<number>;
  /** Claims on their way to the disk, by serial: a repeated open waits for the first one's sync. */
  private readonly syncing = new Map<number, Promise<void>>();

  constructor(shard: Shard) {
    this.shard = shard;
    this.openToken = tokenOpener(shard.keys.token, shard.scope);
    this.ads = new Set(shard.channels.map(({ ad }) => ad));
  }

  /** @throws HongbaoError `journal_failed`: nothing was acknowledged */
  async open(request: OpenRequest): Promise<OpenAnswer> {
    const token = decodeToken(request.token);
    const packet = token && this.openToken(token);
    if (token === undefined || packet === undefined || !this.ads.has(packet.ad)) return "invalid-token";
    const { user, device } = request;
    const pass = openReceipt(this.shard.keys.receipt, request, request.pass ?? "");
    const mine =
      pass?.packet.serial === packet.serial &&
      pass.packet.shard === this.shard.identity.shard &&
      pass.packet.epoch === this.shard.identity.epoch;
    if (!mine) return "not-yours";
    const claim = { token, user, device, atMs: this.shard.clock.wallMs() };
    if (this.shard.book.holds(packet.serial, claim)) await this.syncing.get(packet.serial);
    else if (claim.atMs >= this.shard.expiresAtMs) return "expired";
    else await this.claim(packet.serial, claim);
    const id = formatPacket({ ...this.shard.identity, serial: packet.serial });
    return { packet: id, cents: packet.cents, ad: packet.ad, status: "crediting" };
  }

  private async claim(serial: number, claim: Claim): Promise<void> {
    // If we die before the sync, nobody saw an amount, and the token can be opened again.
    const synced = this.shard.journal.durable(this.shard.append({ type: "claim", serial, ...claim }));
    this.syncing.set(serial, synced);
    await synced;
    // Only now: once the journal has failed, a repeated open must fail as the first one did. And only if no other
    // claim of this serial is on its way by now.
    if (this.syncing.get(serial) === synced) this.syncing.delete(serial);
  }
}
