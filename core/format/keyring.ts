/**
 * Every key of a campaign, derived by HKDF-SHA-256 (RFC 5869) from one random 32-byte master:
 *
 *     master ─┬─ token root ── shard key ─┬─ token key     seals and opens packets
 *             │                           ├─ receipt key   "this user was given this packet"
 *             │                           └─ wire key      batches and acknowledgements
 *             ├─ settlement key   the checksum that only finance and the worker can check
 *             ├─ mint key         every random choice of the mint
 *             └─ quota key        winnings that any node can count
 *
 * Token root, settlement and mint keys are bound to (epoch, planHash): one key never meets another amount,
 * whoever mints again where. Labels and contexts are length-prefixed, so no two derivations share an input.
 */
import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { ByteWriter } from "./bytes.ts";
import type { Mode } from "./campaign.ts";
import { invariant } from "./error.ts";

export const KEY_BYTES = 32;
const SALT = new TextEncoder().encode("hongbao.hkdf.v1");

/** What a mint is: two mints that differ in any of these share no token, settlement or mint key. */
export interface MintIdentity {
  readonly campaign: string;
  readonly mode: Mode;
  readonly epoch: number;
  /** SHA-256, 32 bytes */
  readonly planHash: Uint8Array;
}

export interface ShardKeys {
  readonly token: Uint8Array;
  readonly receipt: Uint8Array;
  readonly wire: Uint8Array;
}

export function tokenRootKey(master: Uint8Array, mint: MintIdentity): Uint8Array {
  return derive(master, "token-root", mintContext(mint));
}

export function settlementKey(master: Uint8Array, mint: MintIdentity): Uint8Array {
  return derive(master, "settlement", mintContext(mint));
}

export function mintKey(master: Uint8Array, mint: MintIdentity): Uint8Array {
  return derive(master, "mint", mintContext(mint));
}

/** Not bound to an epoch: what a user won before a second mint still counts after it. */
export function quotaKey(master: Uint8Array, campaign: string, mode: Mode): Uint8Array {
  return derive(master, "quota", new ByteWriter().text(campaign).u8(modeByte(mode)).done());
}

/** The one secret a node's key file holds for a shard. */
export function shardKey(tokenRoot: Uint8Array, shard: number): Uint8Array {
  return derive(tokenRoot, "shard", new ByteWriter(2).u16(shard).done());
}

export function shardKeys(key: Uint8Array): ShardKeys {
  const none = new Uint8Array(0);
  return {
    token: derive(key, "token", none),
    receipt: derive(key, "receipt", none),
    wire: derive(key, "wire", none),
  };
}

export function modeByte(mode: Mode): number {
  return mode === "live" ? 1 : 2;
}

function mintContext(mint: MintIdentity): Uint8Array {
  invariant(mint.planHash.length === 32, "a plan hash has 32 bytes");
  return new ByteWriter()
    .text(mint.campaign)
    .u8(modeByte(mint.mode))
    .u16(mint.epoch)
    .bytes(mint.planHash)
    .done();
}

function derive(parent: Uint8Array, label: string, context: Uint8Array): Uint8Array {
  invariant(parent.length === KEY_BYTES, "a key has 32 bytes");
  const info = new ByteWriter().text(`hongbao.${label}.v1`).u16(context.length).bytes(context).done();
  return expand(sha256, extract(sha256, parent, SALT), info, KEY_BYTES);
}
