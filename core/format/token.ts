/**
 * The token *is* the packet: 45 bytes, spelled as 60 base64url characters.
 *
 *     0    header    1   version (high nibble 1), reserved 0 (low nibble)
 *     1    nonce    12   campaign tag u32 ‖ epoch u16 ‖ shard u16 ‖ serial u32      (big-endian)
 *     13   sealed   16   serial u32 ‖ cents u32 ‖ ad u16 ‖ checksum 6
 *     29   tag      16   AES-256-GCM; AAD = "hongbao.token.v1" ‖ header ‖ mode u8 ‖ SHA-256(campaign id)
 *
 * The nonce is deterministic (NIST SP 800-38D 8.2.1): a serial is used once under its shard's key. This module
 * is the reference on @noble/ciphers and the per-request path; `token-bulk.ts` is the same function, batched.
 * All opening failures are one answer, `undefined`: who holds a bad token learns nothing about why.
 */
import { gcm } from "@noble/ciphers/aes.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { ByteWriter } from "./bytes.ts";
import type { Mode } from "./campaign.ts";
import { invariant } from "./error.ts";
import { modeByte } from "./keyring.ts";
import type { PacketId } from "./packet.ts";

export const TOKEN_BYTES = 45;
export const TOKEN_HEADER = 0x10;
export const NONCE_AT = 1;
export const SEALED_AT = 13;
export const SEALED_BYTES = 16;
export const CHECKSUM_BYTES = 6;

const SPELLING = /^[A-Za-z0-9_-]{60}$/;

/** Where a token belongs: both sides of a seal must agree on all of it. */
export interface TokenScope {
  readonly campaign: string;
  readonly mode: Mode;
  readonly epoch: number;
  readonly shard: number;
  /** Packets of this shard: every serial is below it. */
  readonly packets: number;
}

/** What a token seals. */
export interface Packet {
  readonly serial: number;
  readonly cents: number;
  readonly ad: number;
  /** 6 bytes under the settlement key; nodes carry it, they cannot check it. */
  readonly checksum: Uint8Array;
}

/** @returns SHA-256(campaign id); its first four bytes are the campaign's tag in nonces and file headers. */
function campaignHash(campaign: string): Uint8Array {
  return sha256(new TextEncoder().encode(campaign));
}

export function campaignTag(campaign: string): number {
  return new DataView(campaignHash(campaign).buffer).getUint32(0);
}

/** The additional authenticated data of every token of a campaign, 50 bytes. */
export function tokenAad(campaign: string, mode: Mode): Uint8Array {
  return new ByteWriter(50)
    .bytes(new TextEncoder().encode("hongbao.token.v1"))
    .u8(TOKEN_HEADER)
    .u8(modeByte(mode))
    .bytes(campaignHash(campaign))
    .done();
}

export function tokenNonce(scope: TokenScope, serial: number): Uint8Array {
  return new ByteWriter(12)
    .u32(campaignTag(scope.campaign))
    .u16(scope.epoch)
    .u16(scope.shard)
    .u32(serial)
    .done();
}

/** @returns the 45 bytes of a token. Asserts its input: only the mint seals. */
export function sealToken(key: Uint8Array, scope: TokenScope, packet: Packet): Uint8Array {
  invariant(packet.serial < scope.packets, "a serial is below its shard's count");
  invariant(packet.checksum.length === CHECKSUM_BYTES, "a checksum has 6 bytes");
  const plaintext = new ByteWriter(SEALED_BYTES)
    .u32(packet.serial)
    .u32(packet.cents)
    .u16(packet.ad)
    .bytes(packet.checksum)
    .done();
  const nonce = tokenNonce(scope, packet.serial);
  const sealed = gcm(key, nonce, tokenAad(scope.campaign, scope.mode)).encrypt(plaintext);
  return new ByteWriter(TOKEN_BYTES).u8(TOKEN_HEADER).bytes(nonce).bytes(sealed).done();
}

/**
 * Opens tokens of one shard. The AAD and the nonce's first eight bytes are made once.
 * @returns a function from 45 bytes to the packet, or undefined for anything not sealed here
 */
export function tokenOpener(key: Uint8Array, scope: TokenScope): (token: Uint8Array) => Packet | undefined {
  const aad = tokenAad(scope.campaign, scope.mode);
  const expected = tokenNonce(scope, 0).subarray(0, 8);
  return (token) => {
    if (token.length !== TOKEN_BYTES || token[0] !== TOKEN_HEADER) return undefined;
    for (let i = 0; i < 8; i++) if (token[NONCE_AT + i] !== expected[i]) return undefined;
    let plaintext: Uint8Array;
    try {
      plaintext = gcm(key, token.subarray(NONCE_AT, SEALED_AT), aad).decrypt(token.subarray(SEALED_AT));
    } catch {
      return undefined;
    }
    const view = new DataView(plaintext.buffer, plaintext.byteOffset, SEALED_BYTES);
    const serial = view.getUint32(0);
    if (serial !== tokenSerial(token) || serial >= scope.packets) return undefined;
    return { serial, cents: view.getUint32(4), ad: view.getUint16(8), checksum: plaintext.subarray(10, 16) };
  };
}

/** The strict spelling: 60 characters of the base64url alphabet; 45 bytes fill them to the last bit. */
export function decodeToken(text: string): Uint8Array | undefined {
  return SPELLING.test(text) ? Buffer.from(text, "base64url") : undefined;
}

export function encodeToken(token: Uint8Array): string {
  invariant(token.length === TOKEN_BYTES, "a token has 45 bytes");
  return Buffer.from(token.buffer, token.byteOffset, token.byteLength).toString("base64url");
}

/** The serial that a token claims in its nonce; true only if the token opens. */
export function tokenSerial(token: Uint8Array): number {
  return new DataView(token.buffer, token.byteOffset, token.byteLength).getUint32(NONCE_AT + 8);
}

/** What a token says about itself without a key; authenticated only if it opens. */
export function readTokenNonce(token: Uint8Array): { campaignTag: number } & PacketId {
  const view = new DataView(token.buffer, token.byteOffset, token.byteLength);
  return {
    campaignTag: view.getUint32(NONCE_AT),
    epoch: view.getUint16(NONCE_AT + 4),
    shard: view.getUint16(NONCE_AT + 6),
    serial: view.getUint32(NONCE_AT + 8),
  };
}
