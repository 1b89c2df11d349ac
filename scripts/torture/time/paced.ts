/**
 * Holds hand-outs against a round's rate: in no window of real time more than rate x time, and one bucket.
 */
import type { Violations } from "../experiment.ts";
import type { HandOut } from "./timed-audience.ts";
import type { TimedRound } from "./timetable.ts";

/** Longer windows are made of these. */
const WINDOW_MS = 2_000;
/** What ARCHITECTURE.md says of the bucket: 50 ms, at least two packets; and one that a new bucket holds. */
const BUCKET_SECONDS = 0.05;
const BUCKET_PACKETS_MIN = 2;

/** @param newBuckets monotonic times between which a restart or a new config made new buckets */
export function expectPaced(
  handOuts: readonly HandOut[],
  round: TimedRound,
  packetsPerSecond: number,
  newBuckets: readonly { readonly fromMs: number; readonly toMs: number }[],
  violations: Violations,
): void {
  // Only what cannot have come from another round.
  const ofRound = handOuts
    .filter(({ spans }) =>
      spans.every(({ fromMs, toMs }) => round.opensAtMs <= fromMs && toMs < round.closesAtMs),
    )
    .sort((a, b) => a.heardMs - b.heardMs);
  const bucket = Math.max(BUCKET_PACKETS_MIN, packetsPerSecond * BUCKET_SECONDS);
  for (const [first, { sentMs }] of ofRound.entries()) {
    let packets = 0;
    for (let at = first; at < ofRound.length; at++) {
      const last = ofRound[at];
      if (last === undefined || last.heardMs - sentMs > WINDOW_MS) break;
      if (last.sentMs < sentMs) continue;
      packets++;
      const seconds = (last.heardMs - sentMs) / 1000;
      const buckets =
        1 + newBuckets.filter(({ fromMs, toMs }) => fromMs <= last.heardMs && sentMs <= toMs).length;
      if (packets <= packetsPerSecond * seconds + bucket * buckets) continue;
      violations.add(`${packets} packets in ${seconds} s at ${packetsPerSecond} a second`);
      return;
    }
  }
}
