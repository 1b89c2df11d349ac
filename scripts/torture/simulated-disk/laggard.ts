/**
 * A disk that takes its time.
 */
import type { SeededRandom } from "../random.ts";

/** Turns of the event loop. */
const DELAY_TURNS_MAX = 5;
const SYNC_TURNS_MAX = [10, 80];

/** A disk that answers late and out of turn, and syncs slowly, so that others write meanwhile. */
export function laggard(random: SeededRandom) {
  const syncTurnsMax = random.pick(SYNC_TURNS_MAX);
  return {
    schedule: (operation: string, complete: () => void) => {
      const late = random.below(operation.includes("sync") ? syncTurnsMax : DELAY_TURNS_MAX);
      void turns(late).then(complete);
    },
  };
}

export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
