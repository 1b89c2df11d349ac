/**
 * One user of the audience, a good client: shakes with an Idempotency-Key, keeps the newest pass, opens what it wins,
 * and repeats what got no answer until it gets one. Some have habits that a real audience has: they give up, they ask
 * twice at once, or they ask again later for what they have.
 */
import type { Agent } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Observation } from "../checker/observation.ts";
import type { SeededRandom } from "../random.ts";
import type { Pace } from "./pace.ts";
import { type Posted, post } from "./post.ts";

const RETRY_MS = 250;
const GREETING_MS = 10;

export interface Venue {
  /** Where the node of this audience is. */
  readonly url: string;
  readonly agent: Agent;
  /** Every answer, and every request that got none. */
  readonly note: (observation: Observation) => void;
  /** How many answers were noted so far. */
  readonly noted: () => number;
  readonly random: SeededRandom;
  readonly pace: Pace;
  /** False once nobody is to shake any more; what was won is still opened. */
  readonly isOpen: () => boolean;
  /** True once the experiment has broken down: nobody insists on an answer any more. */
  readonly isAbandoned: () => boolean;
}

type Habit = "faithful" | "gives-up" | "asks-twice" | "asks-again";

/** @returns why the visit ended */
export async function visit(venue: Venue, user: string): Promise<"limit" | "over" | "closed"> {
  return await new Guest(venue, user).visit();
}

interface Won {
  readonly key: string;
  readonly pass: string | undefined;
  readonly token: string;
  readonly receipt: string;
}

class Guest {
  private readonly venue: Venue;
  private readonly holder: { readonly user: string; readonly device: string };
  private readonly habit: Habit;
  private pass: string | undefined;
  private last: Won | undefined;

  constructor(venue: Venue, user: string) {
    this.venue = venue;
    this.holder = { user, device: "phone" };
    const dice = venue.random.below(100);
    this.habit = dice < 15 ? "gives-up" : dice < 18 ? "asks-twice" : dice < 22 ? "asks-again" : "faithful";
  }

  async visit(): Promise<"limit" | "over" | "closed"> {
    for (let shakes = 0; this.venue.isOpen(); shakes++) {
      await this.venue.pace.ready(this.venue.isOpen);
      const outcome = await this.shakeOnce(`${shakes}`);
      if (outcome === "over") return "over";
      if (outcome !== "limit") continue;
      if (this.habit === "asks-again") await this.askAgain();
      return "limit";
    }
    return "closed";
  }

  private async shakeOnce(key: string): Promise<string> {
    const { pass } = this;
    const twin = this.habit === "asks-twice" ? this.shake(key, pass) : undefined;
    const [answer] = await Promise.all([this.shake(key, pass), twin]);
    const outcome = String(answer?.body["outcome"]);
    if (answer?.status !== 200) return "refused";
    if (outcome === "greeting" || outcome === "countdown") await sleep(GREETING_MS);
    if (outcome !== "packet") return outcome;
    const [token, receipt] = [String(answer.body["token"]), String(answer.body["pass"])];
    this.pass = receipt;
    this.last = { key, pass, token, receipt };
    await this.open(token, receipt);
    return outcome;
  }

  /** Everything that was answered is answered the same way again. */
  private async askAgain(): Promise<void> {
    if (this.last === undefined) return;
    await this.shake(this.last.key, this.last.pass);
    await this.open(this.last.token, this.last.receipt);
  }

  private shake(key: string, pass: string | undefined): Promise<Posted | undefined> {
    const body = { ...this.holder, ...(pass !== undefined && { pass }) };
    return this.insist(
      () => this.ask("/v1/shake", body, { "idempotency-key": key }),
      (answer) => ({ ask: "shake", ...this.holder, key, ...answer }),
    );
  }

  private open(token: string, pass: string): Promise<Posted | undefined> {
    return this.insist(
      () => this.ask("/v1/open", { ...this.holder, token, pass }),
      (answer) => ({ ask: "open", ...this.holder, token, ...answer }),
    );
  }

  private ask(path: string, body: object, headers?: Record<string, string>): Promise<Posted | undefined> {
    return post(this.venue.agent, `${this.venue.url}${path}`, body, headers);
  }

  /** Asks until there is an answer other than 503, and writes each of them down. */
  private async insist(
    ask: () => Promise<Posted | undefined>,
    observed: (answer: Answered) => Observation,
  ): Promise<Posted | undefined> {
    for (;;) {
      const askedAfter = this.venue.noted();
      const answer = await ask();
      this.venue.note(observed({ askedAfter, status: answer?.status ?? null, answer: answer?.body }));
      if (answer !== undefined && answer.status !== 503) return answer;
      if (this.habit === "gives-up" || this.venue.isAbandoned()) return undefined;
      await sleep(RETRY_MS);
    }
  }
}

interface Answered {
  readonly askedAfter: number;
  readonly status: number | null;
  readonly answer: Posted["body"] | undefined;
}
