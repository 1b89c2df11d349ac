/**
 * The settlement checksum: the first 6 bytes of one AES-256 block under the settlement key,
 *
 *     epoch u16 ‖ shard u16 ‖ serial u32 ‖ cents u32 ‖ ad u16 ‖ version u16
 *
 * A block cipher on a block that says everything about a packet is a PRF of it. Nodes do not hold the key: who
 * steals a node's keys can seal tokens, but none that is credited.
 */
import { createCipheriv } from "node:crypto";
import { ecb } from "@noble/ciphers/aes.js";
import { equalBytes } from "@noble/ciphers/utils.js";
import type { PacketId } from "./packet.ts";
import { CHECKSUM_BYTES } from "./token.ts";

const BLOCK_BYTES = 16;
const CHECKSUM_VERSION = 1;

export interface Settled extends PacketId {
  readonly cents: number;
  readonly ad: number;
}

/** Reference path: one packet on @noble/ciphers. */
export function settlementChecksum(key: Uint8Array, packet: Settled): Uint8Array {
  const block = Buffer.alloc(BLOCK_BYTES);
  writeBlock(block, 0, packet);
  return ecb(key, { disablePadding: true }).encrypt(block).subarray(0, CHECKSUM_BYTES);
}

/** Constant-time in the checksum's bytes. */
export function checksumHolds(key: Uint8Array, packet: Settled, checksum: Uint8Array): boolean {
  return equalBytes(settlementChecksum(key, packet), checksum);
}

/** AES-256 of independent blocks on the platform's AES: a keyed permutation, not a mode for messages. */
export function encryptBlocks(key: Uint8Array, blocks: Uint8Array): Buffer {
  return createCipheriv("aes-256-ecb", key, null).setAutoPadding(false).update(blocks);
}

export function writeBlock(target: Buffer, at: number, packet: Settled): void {
  target.writeUInt16BE(packet.epoch, at);
  target.writeUInt16BE(packet.shard, at + 2);
  target.writeUInt32BE(packet.serial, at + 4);
  target.writeUInt32BE(packet.cents, at + 8);
  target.writeUInt16BE(packet.ad, at + 12);
  target.writeUInt16BE(CHECKSUM_VERSION, at + 14);
}
