/**
 * A scripted run of one program, from its first call to its clean stop, that can be performed again and again:
 * with the program dying where it is told to, and with the checks that must hold whatever died.
 */
import type { Violations } from "../experiment.ts";
import type { LastCall, Life } from "./last-call.ts";
import type { Lives } from "./mortal.ts";
import type { Call } from "./point.ts";

export interface Scene {
  /** Empty, and of this performance alone. */
  readonly dir: string;
  readonly lastCall: LastCall;
  readonly fates: Lives;
  readonly violations: Violations;
}

export interface Play {
  readonly name: string;
  /** See `Points`. */
  readonly isBound: (call: Call) => boolean;
  /** The file whose half written end is the worst that the program recovers from. */
  readonly heart: RegExp;
  /** How many may be performed at once: most of them wait most of the time. */
  readonly atOnce: number;
  /** @returns the lives that had a fate */
  perform(scene: Scene): Promise<readonly Life[]>;
}
