/**
 * What a campaign's plan says about any moment, worked out here anew and not taken from the product: the times of
 * day at which rounds begin and end, and when everything has expired.
 */
import type { Span } from "./movable-clock.ts";

export interface TimedRound {
  readonly opensAtMs: number;
  readonly closesAtMs: number;
}

export type Hour = "countdown" | "open" | "over";

export class Timetable {
  readonly rounds: readonly TimedRound[];
  readonly expiresAtMs: number;

  constructor(rounds: readonly TimedRound[], expiresAtMs: number) {
    this.rounds = rounds;
    this.expiresAtMs = expiresAtMs;
  }

  /** Moments at which something begins or ends. */
  get edges(): readonly number[] {
    return [...this.rounds.flatMap(({ opensAtMs, closesAtMs }) => [opensAtMs, closesAtMs]), this.expiresAtMs];
  }

  at(ms: number): Hour {
    if (ms >= this.expiresAtMs) return "over";
    if (this.rounds.some(({ opensAtMs, closesAtMs }) => opensAtMs <= ms && ms < closesAtMs)) return "open";
    return this.rounds.some(({ opensAtMs }) => ms < opensAtMs) ? "countdown" : "over";
  }

  /** Was it `hour` at any moment of these spans? */
  wasEver(hour: Hour, spans: readonly Span[]): boolean {
    return spans.some(({ fromMs, toMs }) =>
      [fromMs, ...this.edges.filter((edge) => fromMs < edge && edge <= toMs)].some(
        (ms) => this.at(ms) === hour,
      ),
    );
  }
}
