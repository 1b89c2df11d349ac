/**
 * Claims in the journals that must not be credited. The ledger says the same of most of them already: an attempt is
 * one finding, so a journal's is added only if the ledger holds no rejection of this very claim. The ledger is asked
 * for each, because a stolen node key can fill a journal with millions.
 */
import type { Claim } from "../../core/format/claim.ts";
import { readTokenNonce } from "../../core/format/token.ts";
import { claimHash } from "../../core/store/ledger-claim.ts";
import type { FindingClass, Findings } from "./findings.ts";
import type { LedgerSnapshot } from "./ledger-snapshot.ts";

type RefusedClass = Extract<FindingClass, "forged" | "unknown-token" | "double-claim">;

export class RefusedClaims {
  private readonly ledger: LedgerSnapshot;
  private readonly findings: Findings;

  constructor(ledger: LedgerSnapshot, findings: Findings) {
    this.ledger = ledger;
    this.findings = findings;
  }

  add(name: RefusedClass, claim: Claim): void {
    const packet = readTokenNonce(claim.token);
    if (this.ledger.hasRejection(packet, claimHash(claim))) return;
    const who = `by user ${claim.user} on ${claim.device}`;
    this.findings.add(name, packet, `${REASONS[name]}, ${who}; only the journal has it so far`);
  }
}

/** What each refusal means, in the same words whoever noticed it. */
export const REASONS = {
  forged: "a token sealed without finance's checksum was presented",
  "unknown-token": "a token that this mint did not seal was presented",
  "double-claim": "a packet that somebody else holds was claimed",
  "over-quota": "more packets than the quota allows were claimed",
} as const;
