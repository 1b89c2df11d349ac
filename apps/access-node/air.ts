/**
 * What this node has on air: the programme, held against expiry and stock. Shake and status ask here, so that a
 * client is never told "open" by one and "over" by the other.
 */
import type { AirState } from "../../core/format/show.ts";
import type { Shard } from "./shard.ts";

const OVER: AirState = { state: "over", rounds: [] };

/** @returns the programme's state at `nowMs`, or "over" if no round on air or to come can release a packet here */
export function airOf(shard: Shard, nowMs: number): AirState {
  if (nowMs >= shard.expiresAtMs) return OVER;
  const { air, adsToCome } = shard.programme.at(nowMs);
  const hasStock = shard.channels.some(
    ({ left, ad }) => left > 0 && (adsToCome === undefined || adsToCome.has(ad)),
  );
  return hasStock ? air : OVER;
}
