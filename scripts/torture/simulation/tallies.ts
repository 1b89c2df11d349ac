/**
 * How often each fault, and each thing that an audience does, has happened: a simulation whose faults never bite
 * shows nothing.
 */
export class Tallies {
  private readonly counts = new Map<string, number>();

  count(what: string, times = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + times);
  }

  add(more: Readonly<Record<string, number>>): void {
    for (const [what, times] of Object.entries(more)) this.count(what, times);
  }

  /** By name. */
  get all(): Record<string, number> {
    return Object.fromEntries([...this.counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
