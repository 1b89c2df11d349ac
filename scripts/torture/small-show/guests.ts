/**
 * Guests of a node that may die under them: each repeats what was not answered, and remembers every answer. What
 * they were told is what must hold afterwards.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Violations } from "../experiment.ts";

const PAUSE_MS = 40;
const REQUEST_MS_MAX = 5_000;
const INSIST_MS_MAX = 90_000;

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

interface Visit {
  readonly shaken: Record<string, unknown>;
  readonly opened: Record<string, unknown>;
}

export class Guests {
  /** packet -> cents that its holder was shown */
  readonly cents = new Map<string, number>();
  private readonly url: string;
  private readonly violations: Violations;
  private readonly visits = new Map<string, Visit>();
  private readonly holders = new Map<string, string>();

  constructor(url: string, violations: Violations) {
    this.url = url;
    this.violations = violations;
  }

  /** Everybody wins in the shows that these guests visit. */
  async visit(user: string): Promise<void> {
    const visit = await this.ask(user);
    const { token } = visit.shaken;
    const packet = String(visit.opened["packet"]);
    this.visits.set(user, visit);
    this.cents.set(packet, Number(visit.opened["cents"]));
    const holder = this.holders.get(String(token));
    this.violations.expect(holder === undefined, `packet ${packet} went to ${holder} and to ${user}`);
    this.holders.set(String(token), user);
  }

  /** Asks everything again: every answer must be the first one to the letter. */
  async visitAgain(): Promise<void> {
    for (const [user, first] of this.visits) {
      const again = await this.ask(user);
      this.violations.expect(
        JSON.stringify(again) === JSON.stringify(first),
        `${user} was told ${JSON.stringify(first)}, and later ${JSON.stringify(again)}`,
      );
    }
  }

  /** @returns the node's answer, whatever becomes of the node meanwhile */
  async insist(path: string, init: RequestInit): Promise<Answer> {
    const endMs = performance.now() + INSIST_MS_MAX;
    for (;;) {
      const answer = await this.request(path, init);
      if (answer !== undefined && answer.status !== 503) return answer;
      if (performance.now() > endMs) throw new Error(`${path} was not answered for ${INSIST_MS_MAX} ms`);
      await sleep(PAUSE_MS);
    }
  }

  private async ask(user: string): Promise<Visit> {
    const holder = { user, device: "phone" };
    const shaken = await this.post("/v1/shake", holder, { "idempotency-key": user });
    if (shaken["outcome"] !== "packet")
      throw new Error(`${user} shook and was told ${JSON.stringify(shaken)}`);
    const opened = await this.post("/v1/open", { ...holder, token: shaken["token"], pass: shaken["pass"] });
    if (typeof opened["cents"] !== "number")
      throw new Error(`${user} opened and was told ${JSON.stringify(opened)}`);
    return { shaken, opened };
  }

  private async post(path: string, body: object, headers: Record<string, string> = {}) {
    const init = { headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
    return (await this.insist(path, { method: "POST", ...init })).body;
  }

  private async request(path: string, init: RequestInit): Promise<Answer | undefined> {
    try {
      const response = await fetch(this.url + path, { ...init, signal: AbortSignal.timeout(REQUEST_MS_MAX) });
      const text = await response.text();
      const isJson = (response.headers.get("content-type") ?? "").includes("json");
      return { status: response.status, body: isJson ? JSON.parse(text) : { text } };
    } catch {
      // The node is down, or went down: nobody knows whether it heard.
      return undefined;
    }
  }
}
