/**
 * The one error family for bad input and bad environment.
 *
 * A message is a sentence that a person can act on: what is wrong, where, and what to do. It never holds a
 * key, a token or a password. Expected outcomes are values, not errors; broken invariants are assertions.
 */

/** Why a program could not go on. Stable: scripts and tests match on it. */
export type ErrorCode =
  | "usage"
  | "invalid_campaign"
  | "invalid_config"
  | "invalid_queue_url"
  | "invalid_ledger_url"
  | "invalid_key_file"
  | "missing_key_file"
  | "key_mismatch"
  | "missing_file"
  | "already_exists"
  | "unreadable_file"
  | "invalid_manifest"
  | "invalid_signature"
  | "missing_signature"
  | "invalid_seed_file"
  | "invalid_journal"
  | "corrupt_journal"
  | "journal_failed"
  | "owned_elsewhere"
  | "locked"
  | "port_taken"
  | "queue_unavailable"
  | "ledger_unavailable"
  | "ledger_mismatch"
  | "corrupt_ledger"
  | "invalid_show"
  | "invalid_token"
  | "mint_failed"
  | "node_refused"
  | "unavailable";

/** Codes that mean "the caller asked for something invalid": exit code 2. All others exit with 1. */
const USAGE_CODES: ReadonlySet<ErrorCode> = new Set([
  "usage",
  "invalid_campaign",
  "invalid_config",
  "invalid_queue_url",
  "invalid_ledger_url",
  "invalid_key_file",
  "missing_key_file",
  "key_mismatch",
  "missing_file",
  "unreadable_file",
  "already_exists",
  "invalid_manifest",
  "invalid_signature",
  "missing_signature",
  "invalid_seed_file",
  "invalid_journal",
  "ledger_mismatch",
  "invalid_show",
  "invalid_token",
]);

export class HongbaoError extends Error {
  override readonly name = "HongbaoError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** Process exit code of the contract: 1 failed, 2 usage or invalid input. */
  get exitCode(): 1 | 2 {
    return USAGE_CODES.has(this.code) ? 2 : 1;
  }
}

/** A bug of ours, never bad input: whoever catches one stops the process. */
export class BrokenInvariant extends Error {
  override readonly name = "BrokenInvariant";
}

/** Asserts an invariant of our own. @throws BrokenInvariant */
export function invariant(condition: boolean, what: string): asserts condition {
  if (!condition) throw new BrokenInvariant(`broken invariant: ${what}`);
}

/** What anything that was thrown says: JavaScript does not hold libraries to throwing an Error. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The `code` of a system error (ENOENT, EADDRINUSE …), or undefined. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
