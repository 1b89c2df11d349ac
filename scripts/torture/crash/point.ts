/**
 * A crash point: the n-th call of a name at a path, and on which side of it the process dies. Which calls come
 * first differs from run to run where threads race; the n-th at one path is the same step of the program.
 */

export interface Call {
  /** As in the manual, without its variants: pwrite64 is a write, openat with O_CREAT an open. */
  readonly name: string;
  /** Below the directory that is watched; a pattern, if it is the name of a temporary file. */
  readonly path: string;
}

export interface Point {
  readonly call: Call;
  /** From 1. */
  readonly nth: number;
  readonly how: "before" | "half" | "after";
}

/** The random part of a temporary file's name (core/store/durable.ts, core/store/ledger-file.ts). */
const TEMPORARY = /\.[0-9a-f]{12}\.tmp/;

export function callOf(name: string, path: string): Call {
  return { name, path: path.replace(TEMPORARY, ".*.tmp") };
}

export function describePoint({ call, nth, how }: Point): string {
  return `${how} ${call.name} ${nth} of ${call.path}`;
}

/** How often each call was seen at most in one life, and so every point at which that life may end. */
export class Points {
  private readonly seen = new Map<string, number>();
  /** True for calls behind which nobody outside learns anything before the next one. */
  private readonly isBound: (call: Call) => boolean;

  /** @param isBound for such a call "behind it" is the same as "in front of the next one", and is left out */
  constructor(isBound: (call: Call) => boolean = () => false) {
    this.isBound = isBound;
  }

  /** @returns the points that no life before this one had */
  learn(calls: readonly Call[]): Point[] {
    const counts = new Map<string, number>();
    return calls.flatMap((call) => {
      const key = `${call.name} ${call.path}`;
      const nth = (counts.get(key) ?? 0) + 1;
      counts.set(key, nth);
      if (nth <= (this.seen.get(key) ?? 0)) return [];
      this.seen.set(key, nth);
      return this.sides(call).map((how) => ({ call, nth, how }));
    });
  }

  private sides(call: Call): Point["how"][] {
    const before = call.name === "write" ? (["before", "half"] as const) : (["before"] as const);
    return this.isBound(call) ? [...before] : [...before, "after"];
  }
}
