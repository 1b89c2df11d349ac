/**
 * What the checker found broken, in its three classes, counted without end and kept in words for the first ones.
 */
const CLASSES = ["lost", "duplicated", "unexpected"] as const;
export type FaultClass = (typeof CLASSES)[number];

const KEPT_PER_CLASS = 20;

export class Faults {
  private readonly seen: Record<FaultClass, number> = { lost: 0, duplicated: 0, unexpected: 0 };
  private readonly kept: Record<FaultClass, string[]> = { lost: [], duplicated: [], unexpected: [] };

  add(name: FaultClass, what: string): void {
    if (this.seen[name]++ < KEPT_PER_CLASS) this.kept[name].push(`${name}: ${what}`);
  }

  count(name: FaultClass): number {
    return this.seen[name];
  }

  /** The first ones of each class, in words. */
  get words(): string[] {
    return CLASSES.flatMap((name) => this.kept[name]);
  }
}
