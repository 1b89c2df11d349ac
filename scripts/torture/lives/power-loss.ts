/**
 * Lives of a node on one disk, one after the other: each ends by a power loss, by kill -9 or by a clean stop, and
 * at many moments of each the power is cut besides, to see what the next start makes of it.
 */
import type { SeededRandom } from "../random.ts";
import { laggard, turns } from "../simulated-disk/laggard.ts";
import type { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";
import { crowd } from "./crowd.ts";
import { Life, type LifeWorld } from "./life.ts";
import type { MintedDisk } from "./minted-disk.ts";
import { judge } from "./verdict.ts";
import { Witness } from "./witness.ts";

const LIVES_MAX = 4;
const CRASHES_A_LIFE = 24;
const ACTIONS_MAX = 60;
const SEGMENT_BYTES_MAX = [800, 6000];
/** A start takes about 100. */
const KILL_TURNS_MAX = [150, 600];
/** In a row, each during the recovery from the one before. */
const RELAPSES_MAX = 3;

/** What is attacked, and who is told of it. */
export interface Attack {
  readonly minted: MintedDisk;
  readonly random: SeededRandom;
  readonly broken: (what: string) => void;
  /** A crash state was recovered from and judged. */
  readonly judged: () => void;
}

/** All lives of one disk, with the crashes of each. */
export async function liveAndCrash(attack: Attack): Promise<void> {
  const { random, minted } = attack;
  const segmentBytes = 400 + random.below(random.pick(SEGMENT_BYTES_MAX));
  let disk = minted.disk.copy(laggard(random));
  let witness = new Witness();
  const lives = 1 + random.below(LIVES_MAX);
  for (let number = 0; number < lives; number++) {
    const begun = disk.moment;
    const { disk: left, witness: seen } = await live(disk, witness, segmentBytes, attack);
    for (let crashes = 0; crashes < CRASHES_A_LIFE; crashes++) {
      const moment = begun + random.below(left.moment - begun + 1);
      await crash(left, moment, seen, segmentBytes, attack);
    }
    if (random.chance(0.5)) {
      disk = left.process(laggard(random));
      witness = seen;
    } else {
      const moment = begun + random.below(left.moment - begun + 1);
      disk = left.powerLoss(random, moment, laggard(random));
      witness = seen.until(moment);
    }
  }
}

/** One life, to its clean stop or its kill, which may come while it still starts. */
async function live(
  disk: SimulatedDisk,
  witness: Witness,
  segmentBytes: number,
  attack: Attack,
): Promise<{ disk: SimulatedDisk; witness: Witness }> {
  const { random } = attack;
  const stops = random.chance(0.4);
  const lived = async () => {
    const life = await begin(disk, witness, segmentBytes, attack);
    if (life === undefined) return;
    await crowd(life, 1 + random.below(ACTIONS_MAX), random);
    if (stops) await life.stop();
  };
  const killed = turns(random.below(random.pick(KILL_TURNS_MAX)));
  await (stops && random.chance(0.5) ? lived() : Promise.race([lived(), killed]));
  disk.kill();
  return { disk, witness };
}

/** Cuts the power at `moment`, recovers, judges, and now and then cuts it again during the recovery or after it. */
async function crash(
  disk: SimulatedDisk,
  moment: number,
  witness: Witness,
  segmentBytes: number,
  attack: Attack,
): Promise<void> {
  const { random } = attack;
  let [from, at, seen] = [disk, moment, witness.until(moment)];
  for (let relapses = 0; relapses <= RELAPSES_MAX; relapses++) {
    from = from.powerLoss(random, at);
    const life = await recover(from, seen, segmentBytes, attack);
    if (life === undefined) return;
    if (random.chance(0.1)) await crowd(life, 1 + random.below(8), random);
    at = random.below(from.moment + 1);
    seen = seen.until(at);
    if (random.chance(0.6)) return;
  }
}

/** Recovers what a power loss left, and judges it. */
export async function recover(
  disk: SimulatedDisk,
  witness: Witness,
  segmentBytes: number,
  attack: Attack,
): Promise<Life | undefined> {
  const life = await begin(disk, witness, segmentBytes, attack);
  attack.judged();
  if (life === undefined) return undefined;
  try {
    for (const wrong of await judge(life, attack.minted, attack.random)) attack.broken(wrong);
    return life;
  } catch (error) {
    attack.broken(`a recovered node fails: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

export async function begin(
  disk: SimulatedDisk,
  witness: Witness,
  segmentBytes: number,
  { minted, random, broken }: Attack,
): Promise<Life | undefined> {
  const onFailure = (error: Error) => broken(`the journal failed: ${error.message}`);
  const world: LifeWorld = { minted, random, segmentBytes, broken, onFailure };
  try {
    return await Life.begin(disk, witness, world);
  } catch (error) {
    broken(`the node refuses to start: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}
