/**
 * Users who know what time it is at the node: they shake and open without a pause, and hold every answer against
 * the timetable and what the node's clock can have said between their asking and its answering.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Violations } from "../experiment.ts";
import type { SeededRandom } from "../random.ts";
import type { MovableClock, Span } from "./movable-clock.ts";
import type { Hour, Timetable } from "./timetable.ts";

const LANES = 6;
const PAUSE_MS = 3;
const RETRY_MS = 30;
const REQUEST_MS_MAX = 10_000;
/** Of the packets: opened only when the clock has jumped. */
const POCKETED = 0.3;
/** Of the shakes with a packet: asked once more. */
const ASKED_AGAIN = 0.1;

interface Packet {
  readonly user: string;
  readonly token: string;
  readonly pass: string;
}

export interface HandOut {
  /** Monotonic. */
  readonly sentMs: number;
  readonly heardMs: number;
  /** What the node's clock can have said. */
  readonly spans: readonly Span[];
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly spans: readonly Span[];
  readonly sentMs: number;
  readonly heardMs: number;
  /** Some tries got no answer: what is told may have been decided by an earlier one. */
  readonly isRepeated: boolean;
}

export class TimedAudience {
  /** token -> user */
  readonly given = new Map<string, string>();
  /** packet -> cents */
  readonly opened = new Map<string, number>();
  readonly handOuts: HandOut[] = [];
  readonly outcomes: Record<string, number> = {};
  private readonly url: string;
  private readonly clock: MovableClock;
  private readonly timetable: Timetable;
  private readonly random: SeededRandom;
  private readonly violations: Violations;
  private readonly pocket: Packet[] = [];
  private lanes: readonly Promise<void>[] = [];
  private users = 0;
  private over = false;

  constructor(
    url: string,
    clock: MovableClock,
    timetable: Timetable,
    random: SeededRandom,
    violations: Violations,
  ) {
    this.url = url;
    this.clock = clock;
    this.timetable = timetable;
    this.random = random;
    this.violations = violations;
  }

  come(): void {
    this.lanes = Array.from({ length: LANES }, () => this.lane());
  }

  get pocketed(): number {
    return this.pocket.length;
  }

  /** Opens what was kept. What is refused because it has expired is kept on. */
  async emptyPocket(packetsMax: number): Promise<void> {
    for (const packet of this.pocket.splice(0, packetsMax)) await this.open(packet);
  }

  async leave(): Promise<void> {
    this.over = true;
    await Promise.all(this.lanes);
  }

  /** What the node says is on air. */
  async lookAtShow(): Promise<void> {
    const { body, spans } = await this.ask("/v1/show");
    const state = String(body["state"]) as Hour;
    this.expectHour(state, spans, "show");
  }

  private async lane(): Promise<void> {
    while (!this.over) {
      await this.user(`user-${this.users++}`).catch((error) => this.violations.add(String(error)));
      await sleep(PAUSE_MS);
    }
  }

  private async user(user: string): Promise<void> {
    const shaken = await this.shake(user);
    const { outcome, token, pass } = shaken.body;
    this.outcomes[String(outcome)] = (this.outcomes[String(outcome)] ?? 0) + 1;
    if (outcome === "countdown" || outcome === "over") return this.expectHour(outcome, shaken.spans, "shake");
    this.expectHour("open", shaken.spans, `shake: ${JSON.stringify(shaken.body)}`);
    if (outcome !== "packet") return;
    if (!shaken.isRepeated) this.handOuts.push(shaken);
    const holder = this.given.get(String(token));
    this.violations.expect(holder === undefined, `${token} was given to ${holder} and ${user}`);
    this.given.set(String(token), user);
    const packet = { user, token: String(token), pass: String(pass) };
    if (this.random.chance(POCKETED)) this.pocket.push(packet);
    else await this.open(packet);
    if (!this.random.chance(ASKED_AGAIN)) return;
    const again = await this.shake(user);
    this.violations.expect(
      again.body["token"] === token,
      `${user} got ${token}, then ${JSON.stringify(again.body)}`,
    );
  }

  private async shake(user: string): Promise<Answer> {
    const answer = await this.ask("/v1/shake", { user, device: "phone" }, user);
    this.violations.expect(answer.status === 200, `shake: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer;
  }

  private async open(packet: Packet): Promise<void> {
    const { user, token, pass } = packet;
    const { status, body, spans } = await this.ask("/v1/open", { user, device: "phone", token, pass });
    const { expiresAtMs } = this.timetable;
    const mayBeExpired = spans.some(({ toMs }) => toMs >= expiresAtMs);
    const mayBeValid = spans.some(({ fromMs }) => fromMs < expiresAtMs);
    if (status === 410 && mayBeExpired) this.pocket.push(packet);
    else if (status === 200 && mayBeValid) this.opened.set(String(body["packet"]), Number(body["cents"]));
    else this.violations.add(`open: ${status} ${JSON.stringify(body)} while the clock said ${tell(spans)}`);
  }

  private expectHour(hour: Hour, spans: readonly Span[], what: string): void {
    this.violations.expect(
      this.timetable.wasEver(hour, spans),
      `${what}: "${hour}" while the clock said ${tell(spans)}`,
    );
  }

  /** Asks until there is an answer: the node may be down. */
  private async ask(path: string, body?: object, key?: string): Promise<Answer> {
    const [askedAtMs, sentMs] = [Date.now(), performance.now()];
    for (let tries = 0; ; tries++) {
      try {
        const response = await fetch(`${this.url}${path}`, {
          ...(body && { method: "POST", body: JSON.stringify(body) }),
          headers: {
            "content-type": "application/json",
            ...(key !== undefined && { "idempotency-key": key }),
          },
          signal: AbortSignal.timeout(REQUEST_MS_MAX),
        });
        const answer = (await response.json()) as Record<string, unknown>;
        const heard = {
          sentMs,
          heardMs: performance.now(),
          spans: this.clock.read(askedAtMs, Date.now() + 1),
        };
        if (response.status !== 503)
          return { status: response.status, body: answer, isRepeated: tries > 0, ...heard };
      } catch (error) {
        if (error instanceof Error && error.name === "TimeoutError") this.violations.add(`${path} hangs`);
      }
      await sleep(RETRY_MS);
    }
  }
}

function tell(spans: readonly Span[]): string {
  return spans
    .map(({ fromMs, toMs }) => `${new Date(fromMs).toISOString()} to ${new Date(toMs).toISOString()}`)
    .join(", ");
}
