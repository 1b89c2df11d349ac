/**
 * Whom a packet belongs to, in four bytes: a keyed hash of user and device, only ever compared with another.
 * Keyed, so that nobody without finance's key can pick a name that passes for somebody else's; two honest
 * people share one in four thousand million cases.
 */
import { createHash, hash } from "node:crypto";

export type HolderHash = (user: string, device: string) => number;

/** @param settlementKey 32 bytes; the hash's own key is derived from it */
export function holderHash(settlementKey: Uint8Array): HolderHash {
  const key = createHash("sha256").update("hongbao.reconcile.holder.v1").update(settlementKey).digest("hex");
  return (user, device) => {
    const digest = hash("sha256", `${key}${user.length}\n${user}${device}`, "buffer").readUInt32BE(0);
    // 0 stands for "nobody yet".
    return digest === 0 ? 1 : digest;
  };
}
