/**
 * Everything that was ever said is said again: every batch and every acknowledgement that went through Redis, every
 * shake, open and show config that went over HTTP, many times and in any order, also after node and worker were
 * killed. Neither the ledger nor the node's journal may notice.
 */
import { signShow } from "../../../core/format/signature.ts";
import { readKeyFile } from "../../../core/store/keystore.ts";
import { type Experiment, type Outcome, Violations } from "../experiment.ts";
import { type Intruder, withIntruder } from "../forgery/intruder.ts";
import type { QueueHand } from "../forgery/queue-hand.ts";
import type { QueueTap } from "../forgery/queue-tap.ts";
import type { TargetShow } from "../forgery/target-show.ts";
import { type SeededRandom, seededRandom } from "../random.ts";

const WINNERS = 60;
const BATCHES_WANTED = 8;
const WAVES = 4;

export const experiment: Experiment = {
  claim: "every message repeated, any number of times in any order, changes neither ledger nor journal",
  trials: { unit: "replayed messages", short: 3_000, full: 100_000 },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    return await withIntruder(violations, async (intruder) => {
      const replay = new Replay(intruder, seededRandom(seed), violations);
      await replay.record();
      note("a show was recorded");
      await replay.repeat(Math.ceil(trials / 2));
      note("replayed; node and worker are killed and started again");
      await replay.restart();
      await replay.repeat(Math.ceil(trials / 2));
      return await replay.outcome();
    });
  },
};

class Replay {
  private readonly show: TargetShow;
  private readonly tap: QueueTap;
  private readonly hand: QueueHand;
  private readonly random: SeededRandom;
  private readonly violations: Violations;
  private readonly done = { batches: 0, acknowledgements: 0, requests: 0 };
  private acknowledgements: string[] = [];
  private config = "";

  constructor({ show, tap, hand }: Intruder, random: SeededRandom, violations: Violations) {
    this.show = show;
    this.tap = tap;
    this.hand = hand;
    this.random = random;
    this.violations = violations;
  }

  /** In waves, so that there is more than one batch. */
  async record(): Promise<void> {
    const config = await this.signedConfig();
    const { status } = await this.show.send("PUT", "/v1/show", config);
    this.violations.expect(status === 204, `the show config was answered with ${status}`);
    this.config = config;
    for (let wave = 0; wave < BATCHES_WANTED; wave++) {
      await this.show.win(Math.ceil(WINNERS / BATCHES_WANTED));
      await this.show.settled();
    }
    this.acknowledgements = await this.tap.acknowledgements();
    // Otherwise nothing would be shown.
    const enough = this.tap.jobs.length >= BATCHES_WANTED && this.acknowledgements.length >= BATCHES_WANTED;
    this.violations.expect(enough, `only ${this.tap.jobs.length} batches were recorded`);
  }

  async repeat(messages: number): Promise<void> {
    const before = await this.state();
    for (let wave = 0; wave < WAVES; wave++) {
      await this.hand.put(this.some(this.tap.jobs, Math.ceil((messages * 0.4) / WAVES)));
      await this.hand.tell(this.some(this.acknowledgements, Math.ceil((messages * 0.4) / WAVES)));
      await this.repeatRequests(Math.ceil((messages * 0.2) / WAVES));
      await this.show.drained();
    }
    this.done.batches += Math.ceil((messages * 0.4) / WAVES) * WAVES;
    this.done.acknowledgements += Math.ceil((messages * 0.4) / WAVES) * WAVES;
    this.show.expectAlive("under replays");
    const after = await this.state();
    for (const what of ["ledger", "journal"] as const)
      this.violations.expect(after[what] === before[what], `the ${what} has changed under replays`);
  }

  /** As a power cut does; the journal may then say that a lease was burned. */
  async restart(): Promise<void> {
    await this.show.node.kill();
    await this.show.worker.kill();
    await this.show.startPrograms();
    // One more winner: the node has asked for its ledger again, and everything stands still.
    await this.show.win(1);
    await this.show.settled();
  }

  async outcome(): Promise<Outcome> {
    await this.show.stop();
    await this.show.account();
    const { batches, acknowledgements, requests } = this.done;
    const figures = {
      ...this.done,
      recordedBatches: this.tap.jobs.length,
      recordedAcknowledgements: this.acknowledgements.length,
      winners: this.show.winners.length,
    };
    return { trials: batches + acknowledgements + requests, violations: this.violations, figures };
  }

  private async state(): Promise<{ ledger: string; journal: string }> {
    const frames = (await this.show.frames()).filter(({ type }) => type !== "durable");
    return { ledger: this.show.ledger(), journal: JSON.stringify(frames) };
  }

  private async repeatRequests(requests: number): Promise<void> {
    for (let i = 0; i < requests; i++) {
      this.done.requests++;
      const winner = this.random.pick(this.show.winners);
      const kind = this.random.below(10);
      if (kind === 0) {
        const { status } = await this.show.send("PUT", "/v1/show", this.config);
        this.violations.expect(status === 409, `a show config sent again was answered with ${status}`);
      } else if (kind < 5) {
        const { text } = await this.show.post("/v1/open", winner.openBody);
        this.violations.expect(text === winner.opened, `an open sent again: ${text}`);
      } else {
        const body = JSON.stringify(winner.request);
        const { text } = await this.show.post("/v1/shake", body, winner.idempotencyKey);
        this.violations.expect(text === winner.shaken, `a shake sent again: ${text}`);
      }
    }
  }

  private some<T>(from: readonly T[], count: number): T[] {
    return Array.from({ length: count }, () => this.random.pick(from));
  }

  private async signedConfig(): Promise<string> {
    const { campaign, epochDir } = this.show.minted;
    const round = {
      id: "r1",
      opensAt: "2026-01-01T00:00:00Z",
      closesAt: "2098-01-01T00:00:00Z",
      ads: [1, 2],
    };
    const rounds = [{ ...round, hitProbability: 1 }];
    const text = JSON.stringify({ campaign, version: 1, stop: false, rounds });
    const sig = signShow(await readKeyFile("signing", epochDir.of.operatorKey), text);
    return JSON.stringify({ show: text, signatures: [{ role: "operator", sig }] });
  }
}
