/**
 * One play, performed again and again, once for each point at which its program can be killed. The points are found
 * by performing it: what a run is seen to call, no run leaves out.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Violations } from "../experiment.ts";
import type { SeededRandom } from "../random.ts";
import type { LastCall, Life } from "./last-call.ts";
import type { Lives } from "./mortal.ts";
import type { Play } from "./play.ts";
import { describePoint, type Point, Points } from "./point.ts";

/** A point that a race of threads has hidden may come up in another run, at the latest in one that nothing disturbs. */
const ATTEMPTS = 5;
const UNDISTURBED_ATTEMPTS = 100;

interface SeasonWorld {
  readonly dir: string;
  readonly lastCall: LastCall;
  readonly violations: Violations;
  readonly random: SeededRandom;
  readonly note: (text: string) => void;
}

interface Performed {
  /** The one that ended (or did not) at the last of its fates; undefined if an earlier one did not end. */
  readonly life: Life | undefined;
  readonly isViolated: boolean;
}

export class Season {
  enumerated = 0;
  killed = 0;
  private hidden: (readonly Point[])[] = [];
  private readonly of: Play;
  private readonly world: SeasonWorld;
  private performances = 0;

  constructor(play: Play, world: SeasonWorld) {
    this.of = play;
    this.world = world;
  }

  get name(): string {
    return this.of.name;
  }

  /** In words, the points at which the program could not be killed: it made fewer such calls whenever it was tried. */
  get notReached(): string[] {
    return this.hidden.map((fates) => this.inWords(fates));
  }

  /** The points of a first life, then those of the life that recovers from a kill in the heart of the first. */
  async play(pointsMax: number): Promise<void> {
    const recoveries = Math.floor(pointsMax / 2);
    const points = await this.killAtEach([], pointsMax - recoveries);
    const hearts = points.filter(({ call, how }) => how === "half" && this.of.heart.test(call.path));
    const heart = hearts[Math.floor(hearts.length / 2)];
    if (heart === undefined) throw new Error(`the ${this.name} writes nothing to ${this.of.heart}`);
    if (recoveries > 0) await this.killAtEach([heart], recoveries);
  }

  /** Tries what was hidden again, many times: while nothing else is performed, a program groups fewer writes. */
  async playHidden(): Promise<void> {
    const { hidden } = this;
    this.hidden = [];
    for (const fates of hidden) {
      await this.killAt(fates, UNDISTURBED_ATTEMPTS);
      this.world.note(`${this.inWords(fates)}: ${this.hidden.includes(fates) ? "hidden" : "reached"}`);
    }
  }

  /** @returns the points of a life behind `earlier` kills, of which at most `pointsMax` were tried */
  private async killAtEach(earlier: readonly Point[], pointsMax: number): Promise<readonly Point[]> {
    const points = new Points(this.of.isBound);
    const { life: watched } = await this.perform([...earlier, undefined]);
    const all = points.learn(watched?.calls ?? []);
    const waiting = this.world.random.shuffled(all).slice(0, pointsMax);
    let tried = waiting.length;
    const next = async (): Promise<void> => {
      for (let point = waiting.shift(); point !== undefined; point = waiting.shift()) {
        const life = await this.killAt([...earlier, point]);
        const found = points.learn(life?.calls ?? []);
        all.push(...found);
        const more = found.slice(0, Math.max(0, pointsMax - tried));
        tried += more.length;
        waiting.push(...more);
      }
    };
    await Promise.all(Array.from({ length: this.of.atOnce }, next));
    this.enumerated += all.length;
    return all;
  }

  private async killAt(fates: readonly Point[], attempts = ATTEMPTS): Promise<Life | undefined> {
    let end: Performed = { isViolated: false, life: undefined };
    for (let attempt = 0; attempt < attempts && !end.isViolated && end.life?.wasKilled !== true; attempt++)
      end = await this.perform(fates);
    if (end.isViolated || end.life?.wasKilled === true) this.killed++;
    else this.hidden.push(fates);
    const done = this.killed + this.hidden.length;
    if (done % 50 === 0) this.world.note(`${this.name}: ${done} crash points done`);
    return end.life;
  }

  private async perform(fates: Lives): Promise<Performed> {
    const dir = join(this.world.dir, `${this.name}-${this.performances++}`);
    mkdirSync(dir);
    const { lastCall } = this.world;
    const violations = new Violations();
    let life: Life | undefined;
    try {
      const lives = await this.of.perform({ dir, lastCall, fates, violations });
      life = lives[fates.length - 1];
    } catch (error) {
      violations.add(error instanceof Error ? error.message : String(error));
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
    for (const what of violations.first) {
      this.world.violations.add(`${this.inWords(fates)}: ${what}`);
      this.world.note(`${this.inWords(fates)}: ${what}`);
    }
    return { life, isViolated: violations.count > 0 };
  }

  private inWords(fates: Lives): string {
    const kills = fates.map((point) => (point === undefined ? "no kill" : describePoint(point)));
    return `${this.name}, ${kills.join(", then ")}`;
  }
}
