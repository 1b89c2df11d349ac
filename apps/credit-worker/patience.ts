/**
 * Waiting for a locked ledger. A lock passes; nothing was written and nothing is acknowledged meanwhile.
 * Everything else that a ledger can say is thrown on at once.
 */
import { isLedgerLocked } from "../../core/store/ledger-error.ts";
import type { Clock } from "./clock.ts";

const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 2000;

interface PatienceOptions {
  /** Gives up after this long; without it, never. */
  readonly waitMsMax?: number;
  /** Once per outage. */
  readonly onLocked?: (error: unknown) => void;
  readonly onFreed?: () => void;
}

/** @returns what `work` returns, as soon as the ledger is not locked */
export async function whileLocked<T>(
  work: () => T | Promise<T>,
  clock: Clock,
  options: PatienceOptions,
): Promise<T> {
  const sinceMs = clock.nowMs();
  for (let pauseMs = PAUSE_MS_MIN; ; pauseMs = Math.min(PAUSE_MS_MAX, pauseMs * 2)) {
    try {
      const result = await work();
      if (pauseMs > PAUSE_MS_MIN) options.onFreed?.();
      return result;
    } catch (error) {
      if (!isLedgerLocked(error) || clock.nowMs() - sinceMs > (options.waitMsMax ?? Number.POSITIVE_INFINITY))
        throw error;
      if (pauseMs === PAUSE_MS_MIN) options.onLocked?.(error);
      await clock.sleep(pauseMs);
    }
  }
}
