/**
 * A claim as the ledger takes it: its token has been opened and checked by whoever holds the settlement key, or
 * has failed a check and is to be remembered as refused. And what the ledger answers.
 */
import { createHash } from "node:crypto";
import { ByteWriter } from "../format/bytes.ts";
import type { Claim } from "../format/claim.ts";

/** The refused attempts of the contract: reconcile reports them without losing balance. */
export type RejectionReason = "forged" | "unknown-token" | "double-claim" | "over-quota";

export interface AuthenticClaim {
  readonly verdict: "authentic";
  readonly claim: Claim;
  readonly serial: number;
  readonly cents: number;
  readonly ad: number;
}

export interface RefusedClaim {
  readonly verdict: "refused";
  readonly claim: Claim;
  readonly reason: "forged" | "unknown-token";
  /** Which check failed, in one word: for people and alarms. */
  readonly detail: string;
}

export type CheckedClaim = AuthenticClaim | RefusedClaim;

/**
 * created   credited now
 * exists    the ledger already held its answer to this very claim: a credit or a rejection
 * conflict  the packet is already credited to somebody else; recorded now as a double-claim
 * rejected  recorded now as forged, unknown-token or over-quota
 */
export type ClaimOutcome = "created" | "exists" | "conflict" | "rejected";

/** SHA-256(token ‖ user ‖ device), texts length-prefixed: a rejection's name, however often it is replayed. */
export function claimHash(claim: Claim): Buffer {
  const bytes = new ByteWriter(256).bytes(claim.token).text(claim.user).text(claim.device).done();
  return createHash("sha256").update(bytes).digest();
}
