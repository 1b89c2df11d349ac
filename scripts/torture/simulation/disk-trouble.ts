/**
 * What a node's disk does that it should not: it is slow, it is full, it fails once.
 */
import type { SeededRandom } from "../random.ts";
import type { Attempt, Fault } from "../simulated-disk/disk-process.ts";
import type { DiskHabits } from "./life-disk.ts";
import type { Tallies } from "./tallies.ts";

type Kind = Attempt["kind"];
const WRITES: readonly Kind[] = ["write", "create"];
const NAMINGS: readonly Kind[] = ["link", "rename"];
const SYNCS: readonly Kind[] = ["sync", "datasync"];

export type Trouble = "disk full" | "write error" | "short write" | "sync error" | "read error";

export class DiskTrouble implements DiskHabits {
  slowMsMax = 1;
  /** Since the program was started. */
  hasStruck = false;
  private readonly tallies: Tallies;
  private readonly random: SeededRandom;
  private due: Trouble | undefined;
  private named: (() => void) | undefined;

  constructor(tallies: Tallies, random: SeededRandom) {
    this.tallies = tallies;
    this.random = random;
  }

  /** Something goes wrong with the next call that it fits. */
  expect(trouble: Trouble): void {
    this.due = trouble;
  }

  /** Calls back when the next file gets its name: its directory is not synced yet. */
  whenNamed(then: () => void): void {
    this.named = then;
  }

  /** A program starts, and has seen nothing yet. */
  forgive(): void {
    this.hasStruck = false;
  }

  /** Nothing more goes wrong. */
  end(): void {
    this.due = undefined;
    this.named = undefined;
    this.slowMsMax = 1;
  }

  fault(kind: Kind): Fault | undefined {
    const { due, named } = this;
    if (named !== undefined && NAMINGS.includes(kind)) {
      this.named = undefined;
      named();
    }
    if (due === undefined) return undefined;
    const fault = this.faultOf(due, kind);
    if (fault === undefined) return undefined;
    this.due = undefined;
    this.hasStruck = true;
    this.tallies.count(due);
    return fault;
  }

  private faultOf(due: Trouble, kind: Kind): Fault | undefined {
    const done = this.random.pick(["nothing", "everything"] as const);
    if (due === "sync error") return SYNCS.includes(kind) ? { code: "EIO", done } : undefined;
    if (due === "read error") return kind === "read" ? { code: "EIO", done: "nothing" } : undefined;
    if (due === "short write") return kind === "write" ? { done: "half" } : undefined;
    if (!WRITES.includes(kind)) return undefined;
    const code = due === "disk full" ? "ENOSPC" : "EIO";
    return { code, done: kind === "write" ? this.random.pick(["nothing", "half"] as const) : "nothing" };
  }
}
