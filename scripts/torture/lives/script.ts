/**
 * A short life by the book, and every crash of it: at each moment each write that is open torn at each byte, each
 * name there or not. What chance might leave out for ever, this meets each time.
 */
import type { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";
import type { Life } from "./life.ts";
import { type Attack, begin, recover } from "./power-loss.ts";
import { Witness } from "./witness.ts";

/** A few frames fill a segment. */
export const SCRIPT_SEGMENT_BYTES = 500;

/** Everything that a node writes, at least once. Steps that fail leave the later ones what they can do. */
export function script(life: Life): (() => Promise<unknown>)[] {
  const { witness } = life;
  const shakeAndOpen = async (user: string, key?: string) => {
    const packet = await life.shake(user, key);
    if (packet) await life.open(packet);
  };
  return [
    () => shakeAndOpen("ann", "key-1"),
    () => Promise.all([shakeAndOpen("bob"), shakeAndOpen("cid", "key-2")]),
    async () => life.noteAcknowledged(),
    () => life.push(witness.version + 1),
    () => shakeAndOpen("dan"),
    () => shakeAndOpen("eve"),
    () => shakeAndOpen("fay"),
    () => life.shake("ann", "key-1"),
  ];
}

/** @param trials crash states: evenly taken from all, if there are more */
export async function crashScript(attack: Attack, trials: number): Promise<void> {
  const { disk, witness } = await playTwice(attack);
  const all = Array.from({ length: disk.moment + 1 }, (_, moment) => disk.everyPowerLoss(moment).length);
  const total = all.reduce((sum, fates) => sum + fates, 0);
  const stride = Math.max(1, total / trials);
  let next = stride / 2;
  let seen = 0;
  for (let moment = 0; moment <= disk.moment; moment++) {
    for (const fate of disk.everyPowerLoss(moment)) {
      if (seen++ < next) continue;
      next += stride;
      await recover(disk.afterPowerLoss(fate, moment), witness.until(moment), SCRIPT_SEGMENT_BYTES, attack);
    }
  }
}

/** One life that is killed, and one on what it left, stopped. */
async function playTwice(attack: Attack): Promise<{ disk: SimulatedDisk; witness: Witness }> {
  const witness = new Witness();
  const first = attack.minted.disk.copy();
  for (const disk of [first, first.process()]) {
    const life = await begin(disk, witness, SCRIPT_SEGMENT_BYTES, attack);
    if (life === undefined) continue;
    for (const step of script(life)) await step();
    if (disk !== first) await life.stop();
    disk.kill();
  }
  return { disk: first, witness };
}
