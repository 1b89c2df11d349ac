/**
 * What every experiment is: a promise of ARCHITECTURE.md, a way to attack it, and a count of how often it broke.
 *
 * An experiment is a file in `experiments/` and is called by the file's name. It prints nothing itself; it returns
 * what it saw. Everything random in it follows from its seed, as far as real processes allow.
 */

export interface Experiment {
  /** One sentence: what is done, and what must hold all the same. */
  readonly claim: string;
  /** How much of it: a short run that CI can afford, and the full one of docs/guarantees.md. */
  readonly trials: { readonly unit: string; readonly short: number; readonly full: number };
  run(options: TrialOptions): Promise<Outcome>;
}

interface TrialOptions {
  readonly trials: number;
  /** 32 bits. */
  readonly seed: number;
  /** Progress, for a person who watches. */
  readonly note: (text: string) => void;
}

export interface Outcome {
  /** Done, in the experiment's unit. */
  readonly trials: number;
  readonly violations: Violations;
  /** What else was measured: names with their units. */
  readonly figures: Readonly<Record<string, unknown>>;
}

/** Broken promises: all counted, the first ones kept in words. */
export class Violations {
  readonly first: string[] = [];
  private seen = 0;

  get count(): number {
    return this.seen;
  }

  add(what: string): void {
    if (this.seen++ < 20) this.first.push(what);
  }

  /** Counts a violation unless `holds`. */
  expect(holds: boolean, otherwise: string): void {
    if (!holds) this.add(otherwise);
  }
}
