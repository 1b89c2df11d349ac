/**
 * The pass: what a winner's client holds beside the token. It proves to the shard "this packet was given to
 * this user on this device" and tells any node what the user has won so far: a quota without storage.
 *
 *     0    version   1   1
 *     1    packet    8   epoch u16 ‖ shard u16 ‖ serial u32
 *     9    count     2   entries
 *     11   won       8 each   epoch u16 ‖ shard u16 ‖ ad u16 ‖ packets u16, strictly ascending
 *     ..   quota    16   HMAC-SHA-256 under the campaign's quota key over user and all of the above
 *     ..   receipt  16   HMAC-SHA-256 under the shard's receipt key over user, device and all of the above
 *
 * User and device are bound by the MACs and not repeated inside: a pass names nobody. What was won is counted
 * per (shard, ad): passes from several nodes merge by taking the larger count of each, so nothing counts twice
 * and nothing is forgotten (a grow-only counter).
 */
import { equalBytes } from "@noble/ciphers/utils.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { ByteReader, ByteWriter } from "./bytes.ts";
import { invariant } from "./error.ts";
import type { PacketId } from "./packet.ts";

const VERSION = 1;
const MAC_BYTES = 16;
/** A user with more (shard, ad) pairs than this wins no further: bounds the pass at 10.7 kB. */
export const WON_ENTRIES_MAX = 1000;
const PASS_CHARS_MAX = Math.ceil(((11 + WON_ENTRIES_MAX * 8 + 2 * MAC_BYTES) * 4) / 3);

interface WonEntry {
  readonly epoch: number;
  readonly shard: number;
  readonly ad: number;
  readonly packets: number;
}

/** What a user has won, one entry a (epoch, shard, ad), ascending. */
export type Won = readonly WonEntry[];

export interface Holder {
  readonly user: string;
  readonly device: string;
}

export interface Pass {
  readonly packet: PacketId;
  readonly won: Won;
}

export interface PassKeys {
  readonly receipt: Uint8Array;
  readonly quota: Uint8Array;
}

export function sealPass(keys: PassKeys, holder: Holder, pass: Pass): string {
  const payload = encodePayload(pass);
  const attested = Buffer.concat([payload, quotaMac(keys.quota, holder.user, payload)]);
  return Buffer.concat([attested, receiptMac(keys.receipt, holder, attested)]).toString("base64url");
}

/** @returns the pass if this shard issued it to this holder (what `open` asks), else undefined. */
export function openReceipt(receiptKey: Uint8Array, holder: Holder, text: string): Pass | undefined {
  const parts = splitPass(text);
  return parts && equalBytes(receiptMac(receiptKey, holder, parts.attested), parts.receipt)
    ? parts.pass
    : undefined;
}

/** @returns what any node of the campaign attests that this user has won (what `shake` asks), or undefined. */
export function openQuota(quotaKey: Uint8Array, user: string, text: string): Won | undefined {
  const parts = splitPass(text);
  return parts && equalBytes(quotaMac(quotaKey, user, parts.payload), parts.quota)
    ? parts.pass.won
    : undefined;
}

/** The larger count of every (epoch, shard, ad). */
export function mergeWon(a: Won, b: Won): Won {
  if (b.length === 0) return a;
  if (a.length === 0) return b;
  const merged = new Map(a.map((entry) => [laneName(entry), entry]));
  for (const entry of b) {
    const known = merged.get(laneName(entry));
    if (known === undefined || known.packets < entry.packets) merged.set(laneName(entry), entry);
  }
  return [...merged.values()].sort(byLane);
}

/** `won` and one packet more from this lane. */
export function addWon(won: Won, lane: { epoch: number; shard: number; ad: number }): Won {
  const { epoch, shard, ad } = lane;
  const known = won.find((entry) => laneName(entry) === laneName(lane));
  const others = won.filter((entry) => entry !== known);
  return [...others, { epoch, shard, ad, packets: (known?.packets ?? 0) + 1 }].sort(byLane);
}

export function wonInAll(won: Won): number {
  return won.reduce((sum, entry) => sum + entry.packets, 0);
}

export function wonOfAd(won: Won, ad: number): number {
  return won.reduce((sum, entry) => sum + (entry.ad === ad ? entry.packets : 0), 0);
}

export function writeWon(bytes: ByteWriter, won: Won): void {
  bytes.u16(won.length);
  for (const entry of won) bytes.u16(entry.epoch).u16(entry.shard).u16(entry.ad).u16(entry.packets);
}

/** @throws RangeError for entries out of order or empty: one value has one spelling. */
export function readWon(bytes: ByteReader): Won {
  const won: WonEntry[] = [];
  const entries = bytes.u16();
  if (entries > WON_ENTRIES_MAX) throw new RangeError("too many entries");
  for (let i = 0; i < entries; i++) {
    const entry = { epoch: bytes.u16(), shard: bytes.u16(), ad: bytes.u16(), packets: bytes.u16() };
    const last = won.at(-1);
    if (entry.packets === 0 || (last && byLane(last, entry) >= 0))
      throw new RangeError("entries out of order");
    won.push(entry);
  }
  return won;
}

function encodePayload(pass: Pass): Buffer {
  invariant(pass.won.length <= WON_ENTRIES_MAX, "a pass has a bounded number of entries");
  const { epoch, shard, serial } = pass.packet;
  const bytes = new ByteWriter(64).u8(VERSION).u16(epoch).u16(shard).u32(serial);
  writeWon(bytes, pass.won);
  return bytes.done();
}

interface PassParts {
  readonly pass: Pass;
  readonly payload: Uint8Array;
  readonly quota: Uint8Array;
  /** Payload and quota MAC: what the receipt MAC covers. */
  readonly attested: Uint8Array;
  readonly receipt: Uint8Array;
}

function splitPass(text: string): PassParts | undefined {
  if (text.length > PASS_CHARS_MAX || !/^[A-Za-z0-9_-]+$/.test(text)) return undefined;
  const bytes = Buffer.from(text, "base64url");
  if (bytes.length < 11 + 2 * MAC_BYTES || bytes.toString("base64url") !== text) return undefined;
  const attested = bytes.subarray(0, -MAC_BYTES);
  const payload = attested.subarray(0, -MAC_BYTES);
  const pass = decodePayload(payload);
  if (pass === undefined) return undefined;
  return {
    pass,
    payload,
    quota: attested.subarray(-MAC_BYTES),
    attested,
    receipt: bytes.subarray(-MAC_BYTES),
  };
}

function decodePayload(payload: Uint8Array): Pass | undefined {
  try {
    const bytes = new ByteReader(payload);
    if (bytes.u8() !== VERSION) return undefined;
    const packet = { epoch: bytes.u16(), shard: bytes.u16(), serial: bytes.u32() };
    const won = readWon(bytes);
    bytes.end();
    return { packet, won };
  } catch {
    return undefined;
  }
}

function receiptMac(key: Uint8Array, holder: Holder, attested: Uint8Array): Uint8Array {
  const message = new ByteWriter(attested.length + 320)
    .text("hongbao.pass.receipt.v1")
    .text(holder.user)
    .text(holder.device)
    .bytes(attested);
  return hmac(sha256, key, message.done()).subarray(0, MAC_BYTES);
}

function quotaMac(key: Uint8Array, user: string, payload: Uint8Array): Uint8Array {
  const message = new ByteWriter(payload.length + 160)
    .text("hongbao.pass.quota.v1")
    .text(user)
    .bytes(payload);
  return hmac(sha256, key, message.done()).subarray(0, MAC_BYTES);
}

function laneName(lane: { epoch: number; shard: number; ad: number }): number {
  return (lane.epoch * 0x1_0000 + lane.shard) * 0x1_0000 + lane.ad;
}

function byLane(a: WonEntry, b: WonEntry): number {
  return laneName(a) - laneName(b);
}
