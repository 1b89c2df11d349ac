/**
 * Somebody writes into Redis: claims and acknowledgements that nobody made, by the thousand, between those of a running
 * node and worker. None is credited or believed, both programs stay, and honest winners are still paid.
 */
import { type Experiment, type Outcome, Violations } from "../experiment.ts";
import { FalsePapers } from "../forgery/false-papers.ts";
import { type Intruder, withIntruder } from "../forgery/intruder.ts";
import { lootNode } from "../forgery/loot.ts";
import { MintsDir } from "../forgery/mints.ts";
import type { QueueHand } from "../forgery/queue-hand.ts";
import type { QueueTap } from "../forgery/queue-tap.ts";
import type { TargetShow } from "../forgery/target-show.ts";
import { type SeededRandom, seededRandom } from "../random.ts";
import { until } from "../stage/until.ts";

const ROUNDS_MAX = 10;
const TRIALS_PER_ROUND = 2_000;
const WINNERS_PER_ROUND = 8;
const SENT_MS_MAX = 30_000;
/** How long a node is watched for what it must never do. */
const BELIEF_MS_MAX = 700;
/** Fields that a job of BullMQ has, bent: what is not JSON breaks its reader, not only ours. */
const PLANTS: readonly Readonly<Record<string, string>>[] = [
  {},
  { data: "{}", opts: "{}" },
  { name: "batch", data: "not JSON", opts: "{}", timestamp: "1" },
  { name: "batch", data: '{"batch":"AQ"}', opts: "not JSON", timestamp: "x" },
  { name: "batch", data: '{"batch":"AQ"}', opts: "[]", attemptsMade: "-1" },
];

export const experiment: Experiment = {
  claim:
    "claims and acknowledgements put into Redis by hand have no effect, and honest ones are still credited",
  trials: { unit: "jobs and events put in by hand", short: 2_000, full: 100_000 },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    return await withIntruder(violations, async (intruder) => {
      const injection = new Injection(intruder, seededRandom(seed), violations);
      await injection.listen();
      const rounds = Math.min(ROUNDS_MAX, Math.ceil(trials / TRIALS_PER_ROUND));
      for (let round = 0; round < rounds; round++) {
        await injection.round(Math.ceil(trials / rounds));
        await injection.deceive();
        note(`round ${round + 1} of ${rounds}`);
      }
      return await injection.outcome();
    });
  },
};

class Injection {
  private readonly show: TargetShow;
  private readonly hand: QueueHand;
  private readonly tap: QueueTap;
  private readonly random: SeededRandom;
  private readonly violations: Violations;
  private readonly kinds: Record<string, number> = {};
  private papers: FalsePapers | undefined;
  private done = 0;

  constructor({ show, hand, tap }: Intruder, random: SeededRandom, violations: Violations) {
    this.show = show;
    this.hand = hand;
    this.tap = tap;
    this.random = random;
    this.violations = violations;
  }

  /** An honest show first: what it sent is what the forgeries are made of. */
  async listen(): Promise<void> {
    await this.show.win(WINNERS_PER_ROUND);
    await this.show.settled();
    const own = await lootNode(this.show.minted.epochDir, 0);
    const next = await lootNode(this.show.minted.epochDir, 1);
    const wireKey = own.keys.wire;
    const wrongKeys = [
      next.keys.wire,
      await foreignWireKey(),
      own.keys.receipt,
      own.keys.token,
      own.quotaKey,
    ];
    const batches = this.tap.jobs.map(({ batch }) => batch);
    const acknowledgements = (await this.tap.acknowledgements()).map((value) => String(JSON.parse(value)));
    this.papers = new FalsePapers({ batches, acknowledgements, wrongKeys, wireKey }, this.random);
  }

  /** Honest winners open while it rains. */
  async round(count: number): Promise<void> {
    const before = this.show.ledger();
    await this.hand.plant(this.random.pick(PLANTS));
    // BullMQ's reader of events ends at this one; the node opens another.
    await this.hand.tell(["not JSON"]);
    for (const kind of ["job: planted", "event: not JSON"]) this.count(kind);
    await this.inject(Math.ceil(count / 2));
    await this.show.drained();
    this.violations.expect(
      this.show.ledger() === before,
      "the ledger has changed, though nobody has opened anything",
    );
    await Promise.all([this.inject(Math.floor(count / 2)), this.show.win(WINNERS_PER_ROUND)]);
    await this.show.settled();
    this.show.expectAlive("while it rained");
    this.violations.expect(this.show.rows("rejection").length === 0, "the ledger holds a rejection");
  }

  /** The worker stands still, claims are on their way, and somebody else answers for it. */
  async deceive(): Promise<void> {
    const { papers } = this;
    if (papers === undefined) throw new Error("nothing was listened to");
    process.kill(this.show.worker.pid, "SIGSTOP");
    try {
      const known = new Set(this.tap.jobs.map(({ batch }) => batch));
      const fresh = () => this.tap.jobs.map(({ batch }) => batch).filter((batch) => !known.has(batch));
      await this.show.win(WINNERS_PER_ROUND);
      await until(() => fresh().some((batch) => papers.hasClaims(batch)), SENT_MS_MAX);
      const before = await this.positions();
      const answers = fresh().flatMap((batch) => papers.answersTo(batch));
      await this.hand.tell(answers);
      for (const _ of answers) this.count("event: an answer under another key");
      const isDeceived = async () => (await this.positions()).length > before.length;
      const believed = await until(isDeceived, BELIEF_MS_MAX).catch(() => false);
      this.violations.expect(!believed, "the node believed an answer that no worker gave");
    } finally {
      process.kill(this.show.worker.pid, "SIGCONT");
    }
    await this.show.settled();
  }

  async outcome(): Promise<Outcome> {
    await this.show.drained();
    await this.show.stop();
    await this.show.account();
    await this.expectHonestPositions();
    const figures = { kinds: this.kinds, credited: this.show.told.size };
    return { trials: this.done, violations: this.violations, figures };
  }

  private async inject(count: number): Promise<void> {
    const { papers } = this;
    if (papers === undefined) throw new Error("nothing was listened to");
    const jobs = Array.from({ length: Math.ceil(count / 2) }, () => papers.job());
    const events = Array.from({ length: Math.floor(count / 2) }, () => papers.acknowledgement());
    for (const { kind } of jobs) this.count(`job: ${kind}`);
    for (const { kind } of events) this.count(`event: ${kind}`);
    await this.hand.putAny([...jobs, papers.oversized()]);
    await this.hand.tell(events.map(({ value }) => value));
    this.count("job: oversized");
  }

  /** Every position that the node believed in is one that the right ledger gave it. */
  private async expectHonestPositions(): Promise<void> {
    const [ledger] = this.show.rows("ledger") as { ledger_id: Buffer }[];
    const [journal] = this.show.rows("journal") as { settled_up_to: number }[];
    let last = 0;
    for (const { ledgerId, upTo } of await this.positions()) {
      const isOurs = ledger?.ledger_id.equals(ledgerId) === true;
      const isForward = upTo >= last && upTo <= (journal?.settled_up_to ?? 0);
      this.violations.expect(isOurs && isForward, `the node believed in position ${upTo} behind ${last}`);
      last = upTo;
    }
  }

  private async positions() {
    return (await this.show.frames()).filter((frame) => frame.type === "acknowledged");
  }

  private count(kind: string): void {
    this.done++;
    this.kinds[kind] = (this.kinds[kind] ?? 0) + 1;
  }
}

/** Of a campaign that has the same name and is another one. */
async function foreignWireKey(): Promise<Uint8Array> {
  const dir = new MintsDir();
  try {
    return (await lootNode((await dir.mint({ campaign: "gala-test", packets: 20 })).epochDir, 0)).keys.wire;
  } finally {
    dir.remove();
  }
}
