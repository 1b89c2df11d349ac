/**
 * Merkle tree hash of RFC 9162 section 2.1.1 over SHA-256: leaves and inner nodes have different prefixes, so
 * neither can stand for the other. Native hashing, because a shard's blocks are megabytes.
 */
import { createHash } from "node:crypto";

export const HASH_BYTES = 32;

export function leafHash(data: Uint8Array): Buffer {
  return createHash("sha256").update(Uint8Array.of(0)).update(data).digest();
}

/** @param leaves leaf hashes, at least one */
export function merkleRoot(leaves: readonly Uint8Array[]): Buffer {
  const [first] = leaves;
  if (first === undefined) throw new RangeError("a Merkle tree has at least one leaf");
  if (leaves.length === 1) return Buffer.from(first);
  const split = 2 ** Math.ceil(Math.log2(leaves.length) - 1);
  return createHash("sha256")
    .update(Uint8Array.of(1))
    .update(merkleRoot(leaves.slice(0, split)))
    .update(merkleRoot(leaves.slice(split)))
    .digest();
}
