/**
 * Users who arrive at a steady rate, whatever happens to those before them: each shakes, opens what it won, and
 * writes down what it was shown and how long the open took. Nobody repeats a request: nothing that happens
 * behind a node is an excuse towards a user.
 */
import type { Violations } from "../experiment.ts";
import { MachinePace } from "./machine-pace.ts";

const TICK_MS = 10;
/** Two seconds of arrivals: a node that has so many to answer is not kept busy by the queue. */
const AT_ONCE_MAX = 100;
const REQUEST_MS_MAX = 60_000;
/** An open that takes longer was held up by something. */
const STALL_MS = 1_000;
/** And not by the machine, if that was faster than this many times itself: an open is some turns and two syncs. */
const TURNS = 4;

export interface Latencies {
  readonly opens: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly msMax: number;
}

interface Seen {
  readonly cents: number;
  readonly user: string;
}

export class Crowd {
  /** packet -> what a 200 showed, and to whom */
  readonly opened = new Map<string, Seen>();
  /** What the users are living through: their latencies are kept under this name. */
  phase = "warm-up";
  private readonly nodes: readonly string[];
  readonly usersPerSecond: number;
  private readonly violations: Violations;
  private readonly openMs = new Map<string, number[]>();
  private readonly underWay = new Set<Promise<void>>();
  private timer: NodeJS.Timeout | undefined;
  private begunMs = 0;
  private users = 0;
  private readonly pace = new MachinePace();
  /** Opens that took longer than STALL_MS, because the machine stood still. */
  held = 0;

  /** @param nodes their URLs */
  constructor(nodes: readonly string[], usersPerSecond: number, violations: Violations) {
    this.nodes = nodes;
    this.usersPerSecond = usersPerSecond;
    this.violations = violations;
  }

  start(): void {
    this.begunMs = performance.now();
    this.pace.start();
    this.timer = setInterval(() => {
      const dueSince = (performance.now() - this.begunMs) * this.usersPerSecond;
      while (this.users < dueSince / 1000 && this.underWay.size < AT_ONCE_MAX) this.send(this.users++);
      // Whoever could not come does not come later: that would be a crowd that no machine was asked to carry.
      if (this.underWay.size >= AT_ONCE_MAX)
        this.begunMs = performance.now() - (this.users * 1000) / this.usersPerSecond;
    }, TICK_MS);
  }

  /** Nobody else arrives; resolves when everybody was answered. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all(this.underWay);
    await this.pace.stop();
  }

  /** Of every phase, and of all faults together. */
  latencies(): Record<string, Latencies> {
    const calm = ["warm-up", "quiet"];
    const faults = [...this.openMs].flatMap(([phase, ms]) => (calm.includes(phase) ? [] : ms));
    return Object.fromEntries(
      [...this.openMs, ["faults", faults] as const].map(([name, ms]) => [name, sum(ms)]),
    );
  }

  private send(user: number): void {
    const visit = this.visit(`user-${user}`, this.nodes[user % this.nodes.length] ?? "").catch((error) =>
      this.violations.add(`user-${user} was let down during ${this.phase}: ${explain(error)}`),
    );
    this.underWay.add(visit);
    visit.finally(() => this.underWay.delete(visit));
  }

  private judge(tookMs: number): void {
    const { slowestMs } = this.pace;
    if (tookMs < STALL_MS + TURNS * slowestMs) this.held++;
    else
      this.violations.add(
        `an open took ${Math.round(tookMs)} ms during ${this.phase}, the machine ${Math.round(slowestMs)} ms`,
      );
  }

  private async visit(user: string, node: string): Promise<void> {
    const holder = { user, device: "phone" };
    const { outcome, token, pass } = await post(`${node}/v1/shake`, holder);
    if (outcome !== "packet") throw new Error(`a shake ended in ${String(outcome)}`);
    const { phase } = this;
    const startedMs = performance.now();
    const { packet, cents } = await post(`${node}/v1/open`, { ...holder, token, pass });
    const tookMs = performance.now() - startedMs;
    const held = this.openMs.get(phase) ?? [];
    this.openMs.set(phase, held);
    held.push(tookMs);
    if (tookMs > STALL_MS) this.judge(tookMs);
    this.violations.expect(!this.opened.has(String(packet)), `${packet} was opened by two users`);
    this.opened.set(String(packet), { cents: Number(cents), user });
  }
}

async function post(url: string, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method: "POST",
    // A connection of its own: one that was kept may be closed by the node in the moment in which it is used again.
    headers: { "content-type": "application/json", connection: "close" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(REQUEST_MS_MAX),
  });
  const answer = (await response.json()) as Record<string, unknown>;
  if (response.status !== 200) throw new Error(`${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

function sum(ms: readonly number[]): Latencies {
  const sorted = [...ms].sort((a, b) => a - b);
  const at = (share: number) => Math.round((sorted[Math.floor(share * (sorted.length - 1))] ?? 0) * 10) / 10;
  return { opens: ms.length, p50Ms: at(0.5), p99Ms: at(0.99), msMax: at(1) };
}

function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}
