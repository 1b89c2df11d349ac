/**
 * The checker: one pass over what clients saw, the journals, the queue and the ledger of one mint. It is independent
 * of reconcile and of every program: it shares the formats with them, reads the files by itself, opens tokens by the
 * reference path, and begins where reconcile cannot, at the answers that clients received. The two must agree.
 *
 *     attempted     packets that a client asked to open
 *     acknowledged  of these: answered with 200
 *     lost          acknowledged, and in the end neither credited nor waiting in the queue, nor rightly refused as
 *                   over quota
 *     duplicated    a packet in answers to two holders or to two Idempotency-Keys, or handed out, credited or paid
 *                   twice
 *     unexpected    everything else that no honest show has: a credit of what no client opened, cents or ad that
 *                   differ between token, answer and ledger, an answer that contradicts an earlier one, a refusal of
 *                   an honest client, a credit over quota, a packet from outside of its lease, lane or round, more
 *                   burned than one lease a kill, a claim that was acknowledged and is in no journal
 *     recovered     credited, though no client saw the acknowledgement: right, and counted
 *     waiting       acknowledged, not credited yet, and still in the queue
 *
 * Memory is some hundred bytes a packet in columns, whatever the number of answers.
 */
import { Answers } from "./answers.ts";
import { Credits } from "./credits.ts";
import { Faults } from "./faults.ts";
import type { CampaignFiles } from "./files.ts";
import { type JournalRules, Journals } from "./journals.ts";
import { readObservations } from "./observation.ts";
import { Packets } from "./packets.ts";
import { Queued } from "./queued.ts";

export interface Evidence extends JournalRules {
  readonly files: CampaignFiles;
  /** The file of observations. */
  readonly observations: string;
  /** Jobs that were left in the queue. */
  readonly queued?: readonly Uint8Array[];
}

interface Amount {
  packets: number;
  cents: number;
}

/** Disjoint, and together the budget; named as reconcile names them. */
const STATES = ["unissued", "burned", "issued", "opened", "rejected", "credited"] as const;
type State = (typeof STATES)[number];

export interface Account {
  readonly answers: number;
  readonly attempted: number;
  readonly acknowledged: number;
  readonly credited: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly unexpected: number;
  readonly recovered: number;
  readonly waiting: number;
  /** Jobs in the queue that no node of this mint has sent. */
  readonly foreignJobs: number;
  readonly cents: { readonly acknowledged: number; readonly credited: number; readonly escrow: number };
  readonly states: Readonly<Record<State, Readonly<Amount>>>;
  /** The first broken promises of each class, in words. */
  readonly violations: readonly string[];
}

export async function check(evidence: Evidence): Promise<Account> {
  const faults = new Faults();
  const packets = new Packets(evidence.files, faults);
  const seen = new Answers(packets, faults);
  for await (const observation of readObservations(evidence.observations)) seen.see(observation);
  const journals = new Journals(packets, seen, faults);
  journals.read(evidence.files, evidence);
  const credits = new Credits(packets, seen, faults);
  credits.read(evidence.files.ledger);
  const queued = new Queued(packets, evidence.queued ?? []);
  const ends = new Ends({ packets, seen, journals, credits, queued });
  const { recovered, waiting } = ends.settle(faults);
  return {
    answers: seen.count,
    attempted: seen.attempted,
    acknowledged: seen.acknowledged,
    credited: credits.credited,
    lost: faults.count("lost"),
    duplicated: faults.count("duplicated"),
    unexpected: faults.count("unexpected"),
    recovered,
    waiting,
    foreignJobs: queued.foreign,
    cents: {
      acknowledged: seen.acknowledgedCents,
      credited: credits.creditedCents,
      escrow: packets.manifest.budgetCents - credits.creditedCents,
    },
    states: ends.states(),
    violations: faults.words,
  };
}

interface Readings {
  readonly packets: Packets;
  readonly seen: Answers;
  readonly journals: Journals;
  readonly credits: Credits;
  readonly queued: Queued;
}

/** Where every packet is in the end. */
class Ends {
  private readonly read: Readings;

  constructor(read: Readings) {
    this.read = read;
  }

  settle(faults: Faults): { recovered: number; waiting: number } {
    const { packets, seen, credits, queued } = this.read;
    let [recovered, waiting] = [0, 0];
    for (let number = 0; number < packets.count; number++) {
      const isCredited = credits.times[number] !== 0;
      if (isCredited && seen.isAttempted(number) && !seen.isAcknowledged(number)) recovered++;
      if (isCredited || !seen.isAcknowledged(number) || credits.overQuota[number] === 1) continue;
      if (queued.waiting[number] === 1) waiting++;
      else faults.add("lost", `packet ${packets.name(number)} was acknowledged, and is not credited`);
    }
    return { recovered, waiting };
  }

  states(): Record<State, Amount> {
    const sums = Object.fromEntries(STATES.map((state) => [state, { packets: 0, cents: 0 }])) as Record<
      State,
      Amount
    >;
    for (let number = 0; number < this.read.packets.count; number++) {
      const sum = sums[this.stateOf(number)];
      sum.packets++;
      sum.cents += this.read.packets.cents[number] ?? 0;
    }
    return sums;
  }

  private stateOf(number: number): State {
    const { journals, credits } = this.read;
    if (credits.times[number] !== 0) return "credited";
    if (journals.claimedBy[number] !== 0) return credits.overQuota[number] === 1 ? "rejected" : "opened";
    if (journals.issuedTo[number] !== 0) return "issued";
    return journals.burned[number] === 1 ? "burned" : "unissued";
  }
}
