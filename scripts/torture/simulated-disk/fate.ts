/**
 * Fates of what a power loss catches on its way to the disk: drawn at random, or all of them in turn.
 */
import type { SeededRandom } from "../random.ts";
import { EVERYTHING, type Fate, NOTHING, type Pending, type Reach } from "./platter.ts";

const SECTOR_BYTES = 512;
const GARBAGE_BYTES = 64;
/** All subsets of the names of this many changes are tried, and of more only those that lack one. */
const SUBSET_NAMES_MAX = 5;

/**
 * One of the possible fates. Independent losses alone would rarely let much arrive, so a mood is drawn first: all
 * lost, all kept, cut at one moment, or each change by itself; and now and then it is another one for each inode.
 */
export function randomFate(pending: readonly Pending[], random: SeededRandom): Fate {
  const inodes = [...new Set(pending.map(({ operation }) => operation.inode))];
  const whole = random.chance(0.5) ? randomMood(pending, random) : undefined;
  const moods = new Map(inodes.map((inode) => [inode, whole ?? randomMood(pending, random)]));
  const fates = new Map(
    pending.map((one) => [one, (moods.get(one.operation.inode) ?? (() => NOTHING))(one)]),
  );
  return decided(fates);
}

/** Every fate, within bounds: each write torn at each byte and at each sector, the others there or not. */
export function everyFate(pending: readonly Pending[]): Fate[] {
  const fates: Fate[] = [];
  for (const other of [NOTHING, EVERYTHING]) {
    const others = new Map(pending.map((one) => [one, other]));
    if (other === NOTHING || pending.length > 0) fates.push(decided(others));
    for (const one of pending)
      for (const reach of reaches(one)) if (reach !== other) fates.push(decided(others, [[one, reach]]));
  }
  for (const subset of subsets(pending.filter(({ operation }) => operation.type === "names")))
    for (const other of [NOTHING, EVERYTHING])
      fates.push((one) =>
        one.operation.type === "names" ? (subset.has(one.at) ? EVERYTHING : NOTHING) : other,
      );
  // Cut at one moment: everything before it arrived, nothing behind it.
  for (const { at } of pending.slice(1)) fates.push((one) => (one.at < at ? EVERYTHING : NOTHING));
  return fates;
}

function decided(
  fates: ReadonlyMap<Pending, Reach>,
  except: readonly (readonly [Pending, Reach])[] = [],
): Fate {
  const all = new Map([...byPlace(fates), ...byPlace(except)]);
  return (one) => all.get(one.at) ?? NOTHING;
}

function byPlace(fates: Iterable<readonly [Pending, Reach]>): [number, Reach][] {
  return [...fates].map(([one, reach]) => [one.at, reach]);
}

function randomMood(pending: readonly Pending[], random: SeededRandom): Fate {
  const mood = random.below(5);
  if (mood === 0) return () => NOTHING;
  if (mood === 1) return () => EVERYTHING;
  if (mood === 2) {
    const cut = random.below(pending.length + 1);
    const at = pending[cut]?.at ?? Number.POSITIVE_INFINITY;
    return (one) => (one.at < at ? EVERYTHING : one.at === at ? randomReach(one, random) : NOTHING);
  }
  return (one) => randomReach(one, random);
}

function randomReach({ operation }: Pending, random: SeededRandom): Reach {
  if (operation.type !== "write") return random.chance(0.5) ? EVERYTHING : NOTHING;
  const grown = random.pick([undefined, "zeros", random.bytes(GARBAGE_BYTES)] as const);
  const growth = grown === undefined ? {} : { grown };
  const kind = random.below(5);
  if (kind === 0) return { ranges: [], ...growth };
  if (kind === 1) return EVERYTHING;
  if (kind === 2) return { ranges: [[0, random.below(operation.bytes.length + 1)]], ...growth };
  if (kind === 3)
    return { ranges: [[random.below(operation.bytes.length + 1), operation.bytes.length]], ...growth };
  return { ranges: sectors(operation).filter(() => random.chance(0.5)), ...growth };
}

/** The parts of a write that lie in one sector each. */
function sectors({ position, bytes }: { position: number; bytes: Uint8Array }): [number, number][] {
  const parts: [number, number][] = [];
  for (let from = 0; from < bytes.length; ) {
    const to = Math.min(bytes.length, from + SECTOR_BYTES - ((position + from) % SECTOR_BYTES));
    parts.push([from, to]);
    from = to;
  }
  return parts;
}

/** All that may become of one change. */
function* reaches({ operation }: Pending): Generator<Reach> {
  yield NOTHING;
  yield EVERYTHING;
  if (operation.type !== "write") return;
  for (let bytes = 0; bytes < operation.bytes.length; bytes++) {
    if (bytes > 0) yield { ranges: [[0, bytes]] };
    yield { ranges: [[0, bytes]], grown: "zeros" };
    if (bytes > 0) yield { ranges: [[bytes, operation.bytes.length]] };
  }
  const parts = sectors(operation);
  if (parts.length > 1)
    for (const lost of parts) yield { ranges: parts.filter((part) => part !== lost), grown: "zeros" };
}

/** Places in the log of the names that arrived. */
function* subsets(names: readonly Pending[]): Generator<ReadonlySet<number>> {
  if (names.length === 0) return;
  const places = names.map(({ at }) => at);
  if (names.length > SUBSET_NAMES_MAX)
    for (const lost of places) yield new Set(places.filter((at) => at !== lost));
  else
    for (let mask = 0; mask < 2 ** names.length; mask++)
      yield new Set(places.filter((_, i) => (mask & (1 << i)) !== 0));
}
