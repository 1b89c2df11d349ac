/**
 * Claims in the journals that must not be credited. The ledger will say the same of most of them, or has said it
 * already: an attempt is one finding. So these wait, by the claim's hash, until all of the ledger's rejections
 * were read, and only what it did not name is added.
 *
 * A node checks seal and pass before it writes a claim, so there are hardly any. Should a broken node write
 * millions, those above the limit are counted without waiting.
 */
import type { Claim } from "../../core/format/claim.ts";
import type { PacketId } from "../../core/format/packet.ts";
import { readTokenNonce } from "../../core/format/token.ts";
import { claimHash } from "../../core/store/ledger-claim.ts";
import { type FindingClass, type Findings, LISTED_MAX } from "./findings.ts";

type RefusedClass = Extract<FindingClass, "forged" | "unknown-token" | "double-claim">;

export class RefusedClaims {
  private readonly findings: Findings;
  private readonly waiting = new Map<string, { name: RefusedClass; packet: PacketId; detail: string }>();
  /** Named by the ledger before any journal did: a token may name another shard than its journal's. */
  private readonly named = new Set<string>();

  constructor(findings: Findings) {
    this.findings = findings;
  }

  add(name: RefusedClass, claim: Claim): void {
    const packet = readTokenNonce(claim.token);
    const detail = `${REASONS[name]}, by user ${claim.user} on ${claim.device}; only the journal has it so far`;
    const hash = claimHash(claim).toString("hex");
    if (this.named.has(hash)) return;
    if (this.waiting.size >= LISTED_MAX) this.findings.add(name, packet, detail);
    else this.waiting.set(hash, { name, packet, detail });
  }

  /** The ledger named this claim itself. */
  name(hash: Buffer): void {
    const known = this.waiting.delete(hash.toString("hex"));
    if (!known && this.named.size < LISTED_MAX) this.named.add(hash.toString("hex"));
  }

  /** Nobody else named what still waits. */
  report(): void {
    for (const { name, packet, detail } of this.waiting.values()) this.findings.add(name, packet, detail);
    this.waiting.clear();
  }
}

/** What each refusal means, in the same words whoever noticed it. */
export const REASONS = {
  forged: "a token sealed without finance's checksum was presented",
  "unknown-token": "a token that this mint did not seal was presented",
  "double-claim": "a packet that somebody else holds was claimed",
  "over-quota": "more packets than the quota allows were claimed",
} as const;
