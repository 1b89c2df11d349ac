/**
 * Detached Ed25519 signatures (RFC 8032) over exact bytes, and the keys that make them. Keys travel as 32 raw
 * bytes in base64url. Every use has its own prefix, so a signature over a manifest is never one over a show.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { HongbaoError, invariant } from "./error.ts";

export const ROLES = ["operator", "approver"] as const;
export type Role = (typeof ROLES)[number];

const MANIFEST_PREFIX = "hongbao.manifest.v1\n";
const SHOW_PREFIX = "hongbao.show.v1\n";

export interface SigningKey {
  readonly privateKey: string;
  readonly publicKey: string;
}

export function newSigningKey(): SigningKey {
  const { d, x } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  invariant(d !== undefined && x !== undefined, "an Ed25519 key has both its halves");
  return { privateKey: d, publicKey: x };
}

/** @returns 64 bytes in base64url: the whole content of a `manifest.<role>.sig` file. */
export function signManifest(key: SigningKey, manifest: Uint8Array): string {
  return signBytes(key, MANIFEST_PREFIX, manifest);
}

export function manifestSignatureHolds(publicKey: string, manifest: Uint8Array, signature: string): boolean {
  return signatureHolds(publicKey, MANIFEST_PREFIX, manifest, signature);
}

export function signShow(key: SigningKey, show: string): string {
  return signBytes(key, SHOW_PREFIX, Buffer.from(show));
}

export function showSignatureHolds(publicKey: string, show: string, signature: string): boolean {
  return signatureHolds(publicKey, SHOW_PREFIX, Buffer.from(show), signature);
}

function signBytes(key: SigningKey, prefix: string, bytes: Uint8Array): string {
  const jwk = { kty: "OKP", crv: "Ed25519", d: key.privateKey, x: key.publicKey };
  let privateKey: ReturnType<typeof createPrivateKey>;
  try {
    privateKey = createPrivateKey({ key: jwk, format: "jwk" });
  } catch {
    throw new HongbaoError("invalid_key_file", "the signing key is not an Ed25519 key");
  }
  return sign(null, Buffer.concat([Buffer.from(prefix), bytes]), privateKey).toString("base64url");
}

function signatureHolds(publicKey: string, prefix: string, bytes: Uint8Array, signature: string): boolean {
  if (!/^[A-Za-z0-9_-]{86}$/.test(signature)) return false;
  const raw = Buffer.from(signature, "base64url");
  // The last character has four bits to spare: one signature has one spelling.
  if (raw.toString("base64url") !== signature) return false;
  try {
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: publicKey }, format: "jwk" });
    return verify(null, Buffer.concat([Buffer.from(prefix), bytes]), key, raw);
  } catch {
    return false;
  }
}
