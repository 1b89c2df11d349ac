/**
 * What all parts of one simulated world share: time, chance, the log, and the onlookers.
 */
import type { Show } from "../../../core/format/show.ts";
import type { Violations } from "../experiment.ts";
import type { SeededRandom } from "../random.ts";
import type { Claims } from "./claims.ts";
import type { Card, Deck } from "./deck.ts";
import type { EventLog } from "./event-log.ts";
import type { LedgerPlace } from "./ledger-place.ts";
import type { SimulatedQueue } from "./queue.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Tallies } from "./tallies.ts";

export interface Surroundings {
  readonly deck: Deck;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly log: EventLog;
  readonly tallies: Tallies;
  readonly violations: Violations;
  readonly claims: Claims;
  readonly ledger: LedgerPlace;
  readonly queue: SimulatedQueue;
  /** What nodes show until the operator says something else, as with `--open-now`. */
  readonly fallbackShow: Show | undefined;
  /** Of the nodes' journals. */
  readonly segmentBytes: number;
  /** Packets that any node has ever given to this user. */
  everGivenTo(user: string): Card[];
}
