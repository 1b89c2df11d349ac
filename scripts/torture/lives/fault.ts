/**
 * A life in which one operation of the disk goes wrong: what it refuses, what it still says, and what the next lives
 * find, on the page cache as it is and after a power loss.
 */
import { collectClaims } from "../../../apps/access-node/shipment.ts";
import { HongbaoError } from "../../../core/format/error.ts";
import type { SeededRandom } from "../random.ts";
import type { Attempt, Fault } from "../simulated-disk/disk-process.ts";
import { FAULTS, isRead } from "../simulated-disk/faults.ts";
import { laggard } from "../simulated-disk/laggard.ts";
import type { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";
import { crowd } from "./crowd.ts";
import { Life } from "./life.ts";
import { type Attack, begin, recover } from "./power-loss.ts";
import { SCRIPT_SEGMENT_BYTES, script } from "./script.ts";
import { Witness } from "./witness.ts";

const CROWDED_ACTIONS = 10;
const POWER_LOSSES = 2;

/** Where a life with faults begins, and what it was like without one. */
export interface Ordeal {
  readonly attack: Attack;
  /** Seeds what the crowd does: the same with every fault. */
  readonly seed: (purpose: number) => SeededRandom;
  readonly disk: SimulatedDisk;
  readonly witness: Witness;
  /** Every fault that can meet it. */
  readonly faults: readonly (readonly [number: number, fault: Fault])[];
}

/** @param seed gives the same random numbers for the same purpose, each time */
export async function prepare(attack: Attack, seed: (purpose: number) => SeededRandom): Promise<Ordeal> {
  const before = attack.minted.disk.copy();
  const witness = new Witness();
  const life = await begin(before, witness, SCRIPT_SEGMENT_BYTES, attack);
  if (life !== undefined) for (const step of script(life)) await step();
  before.kill();
  const disk = before.copy();
  const attempts: Attempt[] = [];
  const fault = (attempt: Attempt) => {
    attempts.push(attempt);
    return undefined;
  };
  const unharmed = { attack, seed, disk, witness: witness.until(before.moment), faults: [] };
  await live(unharmed, disk.copy({ ...laggard(seed(2)), fault }), unharmed.witness.until(0));
  const faults = attempts.flatMap(({ number, kind }) => FAULTS[kind].map((one) => [number, one] as const));
  return { ...unharmed, faults };
}

/** The life with this fault, and what comes after it. */
export async function endure(ordeal: Ordeal, number: number, fault: Fault): Promise<void> {
  const { attack, seed } = ordeal;
  const witness = ordeal.witness.until(0);
  let hit: Attempt | undefined;
  const disk = ordeal.disk.copy({
    ...laggard(seed(2)),
    fault: (attempt) => {
      if (attempt.number !== number) return undefined;
      hit = attempt;
      return fault;
    },
  });
  const name = () => `${hit?.kind} ${hit?.path} (${fault.code ?? "short"}, ${fault.done} done)`;
  const named = { ...attack, broken: (what: string) => attack.broken(`${name()}: ${what}`) };
  const { errors } = await live({ ...ordeal, attack: named }, disk, witness);
  if (hit !== undefined && isRead(hit.kind)) judgeReadErrors(hit, errors, named);
  for (const path of disk.syncedAgain) named.broken(`${path} was synced again after a sync of it had failed`);
  disk.kill();
  const random = seed(1);
  for (let losses = 0; losses < POWER_LOSSES; losses++)
    await recover(disk.powerLoss(random), witness.until(disk.moment), SCRIPT_SEGMENT_BYTES, named);
  await goOn(disk.process(), witness, random, named);
}

/** The next life on what the page cache shows, with a power loss at its end. */
async function goOn(
  disk: SimulatedDisk,
  witness: Witness,
  random: SeededRandom,
  attack: Attack,
): Promise<void> {
  const life = await recover(disk, witness, SCRIPT_SEGMENT_BYTES, attack);
  if (life === undefined) return;
  // Who had no answer asks again.
  for (const packet of [...witness.packets].reverse()) await life.open(packet);
  const moments = [disk.moment, disk.moment];
  await crowd(life, CROWDED_ACTIONS, random);
  moments.push(disk.moment);
  for (const moment of moments)
    await recover(disk.powerLoss(random, moment), witness.until(moment), SCRIPT_SEGMENT_BYTES, attack);
}

/**
 * A whole life, from start to stop. The process is let go on after its journal failed, which the real one does not:
 * so it shows what it would say in its last moments.
 */
async function live(ordeal: Ordeal, disk: SimulatedDisk, witness: Witness): Promise<{ errors: unknown[] }> {
  const { attack, seed } = ordeal;
  const errors: unknown[] = [];
  const failures: Error[] = [];
  let claims = Number.POSITIVE_INFINITY;
  const onFailure = (error: Error) => {
    failures.push(error);
    claims = witness.claims.length;
  };
  const random = seed(0);
  const world = { ...attack, random, segmentBytes: SCRIPT_SEGMENT_BYTES, onFailure };
  const life = await Life.begin(disk, witness, world).catch((error) => {
    errors.push(error);
    return undefined;
  });
  if (life !== undefined)
    for (const step of stepsOf(life, random)) await step().catch((error) => errors.push(error));
  if (failures.length > 1) attack.broken(`the failure of the journal was told ${failures.length} times`);
  const known = new Set(witness.claims.slice(0, claims).map(({ packet }) => packet.serial));
  for (const { packet } of witness.claims.slice(claims))
    if (!known.has(packet.serial))
      attack.broken(`the claim of packet ${packet.serial} was acknowledged after the journal had failed`);
  const journalError = errors.find(
    (error) => error instanceof HongbaoError && error.code === "journal_failed",
  );
  if (life !== undefined && journalError !== undefined && failures.length === 0)
    attack.broken("the journal failed, and nobody was told to stop the node");
  return { errors };
}

function stepsOf(life: Life, random: SeededRandom): (() => Promise<unknown>)[] {
  const everybodyAgain = life.witness.packets.length;
  return [
    ...script(life),
    () => crowd(life, CROWDED_ACTIONS, random),
    () => forward(life),
    ...Array.from({ length: everybodyAgain + CROWDED_ACTIONS }, (_, i) => async () => {
      const packet = life.witness.packets[i];
      if (packet) await life.open(packet);
    }),
    () => life.stop(),
  ];
}

/** As the forwarder reads: every claim that was acknowledged is found to be sent. */
async function forward({ shard, witness }: Life): Promise<void> {
  // Clients may still be at it behind one of them that failed.
  const acknowledged = [...witness.claims];
  const reader = await shard.journal.reader();
  try {
    const claims = await collectClaims(reader, 0, shard.journal.durableOffset);
    const tokens = new Set(claims.map(({ token }) => Buffer.from(token).toString("base64url")));
    const missing = acknowledged.find(({ packet }) => !tokens.has(packet.token));
    if (missing) throw new Error(`the claim of packet ${missing.packet.serial} would not be sent`);
  } finally {
    await reader.close();
  }
}

/** What cannot be read is said with its path, and nothing else goes wrong. */
function judgeReadErrors(hit: Attempt, errors: readonly unknown[], attack: Attack): void {
  for (const error of errors) {
    const isSaid =
      error instanceof Error &&
      (error instanceof HongbaoError || "path" in error) &&
      error.message.includes(hit.path);
    if (!isSaid) attack.broken(`it is said as "${error instanceof Error ? error.message : String(error)}"`);
  }
}
