/**
 * What can happen to a file: a bit is another one, the end is missing, records are exchanged or repeated, or it is
 * another file of the same kind. Each damage is numbered, so that some can be taken or all.
 */
import { flipBit } from "../forgery/mutations.ts";

interface Damage {
  readonly what: string;
  readonly bytes: Buffer;
}

/** Damages of one kind: `make(i)` for i below `count`. */
export interface Damages {
  readonly count: number;
  make(i: number): Damage;
}

export function bitFlips(original: Buffer): Damages {
  return {
    count: original.length * 8,
    make: (i) => {
      const bytes = Buffer.from(original);
      flipBit(bytes, i);
      return { what: `bit ${i & 7} of byte ${i >>> 3} flipped`, bytes };
    },
  };
}

export function truncations(original: Buffer): Damages {
  return {
    count: original.length,
    make: (i) => ({ what: `cut behind byte ${i}`, bytes: original.subarray(0, i) }),
  };
}

export function extensions(original: Buffer): Damages {
  const tails = [Buffer.alloc(1), Buffer.from("\n"), Buffer.from(" "), Buffer.alloc(4096), original];
  return {
    count: tails.length,
    make: (i) => ({
      what: `extended by ${tails[i]?.length ?? 0} bytes`,
      bytes: Buffer.concat([original, tails[i] ?? original]),
    }),
  };
}

/** A part of a file that others of its kind may be exchanged with. */
export interface Part {
  readonly at: number;
  readonly length: number;
}

/** Neighbours exchanged, first and last exchanged, each repeated in front of and over the next one, each left out. */
export function rearrangements(original: Buffer, parts: readonly Part[], name: string): Damages {
  const made: (() => Damage)[] = [];
  const bytesOf = ({ at, length }: Part) => original.subarray(at, at + length);
  const change = (what: string, a: Part, b: Part, between: Buffer[]) => () => ({
    what: `${name} at ${a.at} and ${b.at}: ${what}`,
    bytes: Buffer.concat([original.subarray(0, a.at), ...between, original.subarray(b.at + b.length)]),
  });
  for (const [i, a] of parts.entries()) {
    for (const b of new Set([parts[i + 1], parts[(i * 7 + 13) % parts.length]])) {
      if (b === undefined || b.at < a.at + a.length) continue;
      const middle = original.subarray(a.at + a.length, b.at);
      if (bytesOf(a).equals(bytesOf(b))) continue;
      made.push(change("exchanged", a, b, [bytesOf(b), middle, bytesOf(a)]));
      made.push(change("the first repeated over the second", a, b, [bytesOf(a), middle, bytesOf(a)]));
      made.push(change("the second repeated over the first", a, b, [bytesOf(b), middle, bytesOf(b)]));
    }
    made.push(change("repeated", a, a, [bytesOf(a), bytesOf(a)]));
    made.push(change("left out", a, a, []));
  }
  return { count: made.length, make: (i) => (made[i] as () => Damage)() };
}

/** Files of the same kind from elsewhere. */
export function replacements(files: readonly { readonly what: string; readonly bytes: Buffer }[]): Damages {
  return { count: files.length, make: (i) => files[i] as Damage };
}

export function all(...kinds: readonly Damages[]): Damages {
  return {
    count: kinds.reduce((sum, { count }) => sum + count, 0),
    make: (i) => {
      let at = i;
      for (const kind of kinds) {
        if (at < kind.count) return kind.make(at);
        at -= kind.count;
      }
      throw new RangeError(`there is no damage ${i}`);
    },
  };
}
