/**
 * A claim: "this user, on this device, opened this packet". Durable in a journal before the user sees the
 * amount, carried in batches, credited once.
 */

/** Journals and ledgers are named by 16 random bytes. */
export const ID_BYTES = 16;

export interface Claim {
  /** 45 bytes */
  readonly token: Uint8Array;
  readonly user: string;
  readonly device: string;
  readonly atMs: number;
}
