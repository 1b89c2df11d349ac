/**
 * The one name under which nodes and worker of a mint meet in the queue. It carries the plan's hash, so that
 * another campaign of the same name on the same server is another queue. BullMQ forbids ':' in it.
 */
import type { Manifest } from "./manifest.ts";

export function claimQueueName(manifest: Pick<Manifest, "campaign" | "epoch" | "planHash">): string {
  return `hongbao-${manifest.campaign}-e${manifest.epoch}-${manifest.planHash.slice(0, 8)}`;
}
