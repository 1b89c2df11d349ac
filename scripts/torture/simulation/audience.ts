/**
 * The audience: users who shake and open with the habits of real clients, good and bad. Requests and answers get lost
 * and doubled on the way; what is not answered is asked again; some try what is not theirs.
 */
import type { OpenAnswer } from "../../../apps/access-node/open.ts";
import type { ShakeAnswer } from "../../../apps/access-node/shake.ts";
import type { AskedShake } from "./hand-outs.ts";
import type { SimulatedNode } from "./node.ts";
import type { Surroundings } from "./surroundings.ts";

const TIMEOUT_MS = 1500;
const TRIES = 8;

export interface Manners {
  readonly users: number;
  /** Milliseconds over which they come. */
  readonly arriveMs: number;
  /** Of requests and of answers, 0 to 1. */
  lost: number;
  doubled: number;
}

interface Ticket {
  readonly shard: number;
  readonly user: string;
  readonly device: string;
  readonly token: string;
  readonly pass: string;
}

export class Audience {
  private readonly world: Surroundings;
  private readonly nodes: readonly SimulatedNode[];
  private readonly manners: Manners;
  private readonly tickets: Ticket[] = [];
  private busy = 0;

  constructor(world: Surroundings, nodes: readonly SimulatedNode[], manners: Manners) {
    this.world = world;
    this.nodes = nodes;
    this.manners = manners;
  }

  /** Nobody waits for anything. */
  get isQuiet(): boolean {
    return this.busy === 0;
  }

  come(): void {
    for (let user = 0; user < this.manners.users; user++) this.act(() => this.live(user));
  }

  /** Some come back for what they have not opened, or to see it again. */
  comeBack(): void {
    for (const ticket of this.tickets)
      if (this.world.random.chance(0.5)) this.act(() => this.open(ticket, ticket.user));
    this.act(async () => {
      for (const node of this.nodes)
        await this.shake(node, { user: "latecomer", device: "phone", key: undefined, pass: undefined });
    });
  }

  private act(what: () => Promise<void>): void {
    this.busy++;
    what().finally(() => {
      this.busy--;
    });
  }

  private async live(number: number): Promise<void> {
    const { random, scheduler } = this.world;
    const user = `user-${number}`;
    await scheduler.passed(random.below(this.manners.arriveMs));
    const passes: string[] = [];
    const shakes = 1 + random.below(6);
    for (let shake = 0; shake < shakes; shake++) {
      const node =
        this.nodes[random.chance(0.15) ? random.below(this.nodes.length) : number % this.nodes.length];
      if (node === undefined) return;
      const device = random.chance(0.1) ? "tablet" : "phone";
      const pass = random.chance(0.75) ? passes.at(-1) : random.pick([undefined, ...passes]);
      const key = random.chance(0.85) ? `shake ${shake}` : undefined;
      const answer = await this.shake(node, { user, device, key, pass });
      if (typeof answer === "object" && answer.outcome === "packet") {
        passes.push(answer.pass);
        const shard = this.nodes.indexOf(node);
        const ticket = { shard, user, device, token: answer.token, pass: answer.pass };
        this.tickets.push(ticket);
        if (random.chance(0.85)) await this.open(ticket, user);
        if (random.chance(0.1)) await this.pry(ticket);
      }
      await scheduler.passed(random.below(4000));
    }
  }

  /** Asks until there is an answer, or patience is at an end. */
  private async shake(
    node: SimulatedNode,
    asked: AskedShake,
  ): Promise<ShakeAnswer | "key-reused" | undefined> {
    for (let tries = 0; tries < TRIES; tries++) {
      const answer = await this.reply(() => node.shake(asked));
      if (answer !== undefined && answer !== "unavailable") return answer;
      this.world.tallies.count("shake asked again");
      await this.world.scheduler.passed(this.world.random.below(3000));
    }
    return undefined;
  }

  private async open(ticket: Ticket, user: string): Promise<void> {
    const { random, scheduler, tallies } = this.world;
    const node = this.nodes[ticket.shard];
    if (node === undefined) return;
    const request = { token: ticket.token, user, device: ticket.device, pass: ticket.pass };
    for (let tries = 0; tries < TRIES; tries++) {
      const answer = await this.reply(() => node.open(request));
      const isAnswered = answer !== undefined && answer !== "unavailable";
      if (isAnswered) tallies.count(`open ${typeof answer === "string" ? answer : "acknowledged"}`);
      if (isAnswered && !random.chance(0.2)) return;
      tallies.count("open asked again");
      await scheduler.passed(random.below(2500));
    }
  }

  /** Tries what does not open: somebody else's token, a token that is none, one of the other shard. */
  private async pry(ticket: Ticket): Promise<void> {
    const { random } = this.world;
    const at = random.below(ticket.token.length);
    const letter = ticket.token[at] === "A" ? "B" : "A";
    const changed = ticket.token.slice(0, at) + letter + ticket.token.slice(at + 1);
    const wrong = random.pick([
      { ...ticket, user: "thief" },
      { ...ticket, device: "stolen" },
      { ...ticket, token: changed },
      { ...ticket, shard: (ticket.shard + 1) % this.nodes.length },
    ]);
    const node = this.nodes[wrong.shard];
    if (node !== undefined) await this.reply<OpenAnswer | "unavailable">(() => node.open(wrong));
    this.world.tallies.count("open of what is not theirs");
  }

  /** A request over the network. @returns the answer, or undefined if none came in time */
  private reply<T>(ask: () => Promise<T>): Promise<T | undefined> {
    const { random, scheduler, tallies } = this.world;
    const { lost, doubled } = this.manners;
    return new Promise((resolve) => {
      let isOver = false;
      const end = (answer: T | undefined) => {
        if (isOver) return false;
        isOver = true;
        resolve(answer);
        return true;
      };
      scheduler.in(TIMEOUT_MS, () => end(undefined));
      const send = () =>
        scheduler.in(random.below(40), () => {
          ask().then((answer) => {
            if (random.chance(lost)) tallies.count("answer lost");
            else scheduler.in(random.below(40), () => end(answer));
          });
        });
      if (random.chance(lost)) tallies.count("request lost");
      else send();
      if (!random.chance(doubled)) return;
      tallies.count("request doubled");
      send();
    });
  }
}
