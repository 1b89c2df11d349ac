/**
 * What clients saw, packet by packet: who was given it, under which Idempotency-Key and with which pass, whether an
 * open was attempted and acknowledged. Every answer is held against the sealed token and against every earlier one.
 */
import { decodeToken } from "../../../core/format/token.ts";
import type { Faults } from "./faults.ts";
import { NameTable, nameHash } from "./name-hash.ts";
import type { Observation } from "./observation.ts";
import type { Packets } from "./packets.ts";

export class Answers {
  /** Answers so far. */
  count = 0;
  attempted = 0;
  acknowledged = 0;
  acknowledgedCents = 0;
  unanswered = 0;
  /** Short hashes by packet, 0 = nobody: holder is user and device. */
  readonly holders: Float64Array;
  readonly users: Float64Array;
  private readonly keys: Float64Array;
  private readonly passes: Float64Array;
  private readonly attempts: Uint8Array;
  private readonly acknowledgements: Uint8Array;
  /** Answers up to the one that gave the packet. */
  private readonly givenAt: Uint32Array;
  private readonly packetOfKey = new NameTable();
  private readonly packets: Packets;
  private readonly faults: Faults;

  constructor(packets: Packets, faults: Faults) {
    this.packets = packets;
    this.faults = faults;
    const columns = () => new Float64Array(packets.count);
    [this.holders, this.users, this.keys, this.passes] = [columns(), columns(), columns(), columns()];
    this.givenAt = new Uint32Array(packets.count);
    this.attempts = new Uint8Array(packets.count);
    this.acknowledgements = new Uint8Array(packets.count);
  }

  see(observation: Observation): void {
    this.count++;
    if (observation.ask === "open") this.seeOpen(observation);
    else this.seeShake(observation);
  }

  isAttempted(number: number): boolean {
    return this.attempts[number] === 1;
  }

  isAcknowledged(number: number): boolean {
    return this.acknowledgements[number] === 1;
  }

  private seeShake(seen: Observation): void {
    const answer = this.answerOf(seen);
    if (answer === undefined) return;
    const key = seen.key === undefined ? 0 : nameHash(seen.user, seen.device, seen.key);
    const before = key === 0 ? undefined : this.packetOfKey.get(key);
    if (answer["outcome"] === "packet") {
      this.given(seen, answer, key, before);
      return;
    }
    if (!["greeting", "countdown", "limit", "over"].includes(String(answer["outcome"])))
      this.unexpected(seen, `an outcome that is none: ${String(answer["outcome"])}`);
    // Of two that were asked at once, one may have been turned away before the other won.
    const isLater = before !== undefined && (seen.askedAfter ?? this.count) >= (this.givenAt[before] ?? 0);
    if (isLater) this.unexpected(seen, `a repeated shake lost packet ${this.packets.name(before)}`);
  }

  private given(
    seen: Observation,
    answer: Readonly<Record<string, unknown>>,
    key: number,
    before: number | undefined,
  ): void {
    const number = this.numberOf(answer["token"]);
    if (number === undefined) {
      this.unexpected(seen, "a token that is not of this mint");
      return;
    }
    const name = this.packets.name(number);
    if (answer["ad"] !== this.packets.ads[number])
      this.unexpected(seen, `packet ${name} with ad ${String(answer["ad"])}`);
    if (before !== undefined && before !== number)
      this.unexpected(seen, `a repeated shake gives ${name} and gave ${this.packets.name(before)}`);
    const holder = nameHash(seen.user, seen.device);
    const isFirst = this.holders[number] === 0;
    if (!isFirst && this.holders[number] !== holder)
      this.faults.add("duplicated", `packet ${name} was given to ${seen.user} as well`);
    else if (!isFirst && this.keys[number] !== key)
      this.faults.add("duplicated", `packet ${name} was given to ${seen.user} for two shakes`);
    const pass = nameHash(String(answer["pass"]));
    if (!isFirst && this.holders[number] === holder && this.passes[number] !== pass)
      this.unexpected(seen, `packet ${name} comes again with another pass`);
    if (key !== 0) this.packetOfKey.put(key, number);
    if (!isFirst) return;
    this.holders[number] = holder;
    this.users[number] = nameHash(seen.user);
    this.keys[number] = key;
    this.passes[number] = pass;
    this.givenAt[number] = this.count;
  }

  private seeOpen(seen: Observation): void {
    const number = this.numberOf(seen.token);
    if (number === undefined) {
      this.unexpected(seen, "opens a token that is not of this mint");
      return;
    }
    if (this.attempts[number] === 0) this.attempted++;
    this.attempts[number] = 1;
    const answer = this.answerOf(seen);
    if (answer === undefined) return;
    const [name, cents] = [this.packets.name(number), this.packets.cents[number] ?? 0];
    if (answer["packet"] !== name)
      this.unexpected(seen, `packet ${name} opened as ${String(answer["packet"])}`);
    if (answer["cents"] !== cents)
      this.unexpected(seen, `packet ${name} showed ${String(answer["cents"])} cents, not ${cents}`);
    if (answer["ad"] !== this.packets.ads[number])
      this.unexpected(seen, `packet ${name} opened with ad ${String(answer["ad"])}`);
    if (this.holders[number] !== nameHash(seen.user, seen.device))
      this.unexpected(seen, `opened packet ${name}, which it was not given`);
    if (this.acknowledgements[number] === 1) return;
    this.acknowledgements[number] = 1;
    this.acknowledged++;
    this.acknowledgedCents += cents;
  }

  /** @returns the body of a 200; a 503 and no answer promise nothing, any other refusal is wrong */
  private answerOf(seen: Observation): Readonly<Record<string, unknown>> | undefined {
    if (seen.status === null || seen.status === 503) this.unanswered++;
    else if (seen.status !== 200 || seen.answer === undefined)
      this.unexpected(seen, `refused with ${seen.status} ${String(seen.answer?.["code"])}`);
    else return seen.answer;
    return undefined;
  }

  private numberOf(token: unknown): number | undefined {
    const bytes = typeof token === "string" ? decodeToken(token) : undefined;
    return bytes && this.packets.numberOf(bytes);
  }

  private unexpected(seen: Observation, what: string): void {
    this.faults.add("unexpected", `${seen.ask} of ${seen.user}: ${what}`);
  }
}
