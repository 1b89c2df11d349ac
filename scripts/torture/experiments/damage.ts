/**
 * Every file of a show, damaged in every way, and read by the programs that need it. Damage is refused by name or
 * changes nothing: no other amount is ever read, no packet is handed out again, and no books balance on other figures.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { all, bitFlips, type Damages, truncations } from "../damage/damages.ts";
import { HalfMinted } from "../damage/half-minted.ts";
import { Bench, type Judge, refusedOr } from "../damage/judges.ts";
import { Scene } from "../damage/scene.ts";
import { type Target, targetsOf } from "../damage/targets.ts";
import { type Experiment, type Outcome, Violations } from "../experiment.ts";
import { type SeededRandom, seededRandom } from "../random.ts";

/** A resumed mint starts a thread: of its files only so many damages are tried for each that is tried elsewhere. */
const SHARE_OF_MINT = 0.005;
const MINT_DAMAGES_MAX = 2_000;
const NOTE_EVERY = 20_000;
/** Scenes that are damaged at once: most of the time each waits for the disk. */
const SCENES = 3;

export const experiment: Experiment = {
  claim:
    "a damaged file is refused by name or changes nothing: never another amount, never a second hand-out",
  trials: { unit: "damages", short: 1_000, full: 252_000 },
  run: async ({ trials, seed, note }) => {
    const dir = mkdtempSync(join(tmpdir(), "hongbao-half-"));
    const scenes: Scene[] = [];
    try {
      while (scenes.length < SCENES) scenes.push(await Scene.play());
      const wreckage = new Wreckage(seed, note);
      let next = 0;
      const spoil = async (scene: Scene) => {
        const bench = await Bench.of(scene);
        const targets = await targetsOf(bench);
        for (let i = next++; i < targets.length; i = next++) {
          const target = targets[i];
          if (target) await wreckage.damage(bench, target, trials);
        }
      };
      await Promise.all(scenes.map(spoil));
      await wreckage.damageMint(await HalfMinted.make(join(dir, "half")), trials);
      return wreckage.outcome();
    } finally {
      for (const scene of scenes) scene.remove();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

class Wreckage {
  private readonly seed: number;
  private readonly note: (text: string) => void;
  private readonly violations = new Violations();
  /** How often each file was damaged, and how often that ended in what. */
  private readonly damaged: Record<string, number> = {};
  private readonly verdicts: Record<string, number> = {};
  private done = 0;

  constructor(seed: number, note: (text: string) => void) {
    this.seed = seed;
    this.note = note;
  }

  async damage({ scene }: Bench, target: Target, trials: number): Promise<void> {
    const random = seededRandom(this.seed);
    let done = 0;
    for (const damage of chosen(target.damages, Math.ceil(trials * target.share), random)) {
      scene.restore();
      scene.spoil(target.path, damage.bytes);
      for (const judge of judgesOf(target, done++)) {
        this.judged(target.name, damage.what, await judge());
        scene.restoreBesideDamage();
      }
      this.tried(target.name);
    }
    scene.restore();
  }

  /** Each file of a half-minted epoch in turn. */
  async damageMint(half: HalfMinted, trials: number): Promise<void> {
    const random = seededRandom(this.seed);
    const wanted = Math.min(MINT_DAMAGES_MAX, Math.ceil(trials * SHARE_OF_MINT));
    for (const path of half.paths)
      for (const damage of chosen(mintDamages(half, path), Math.ceil(wanted / half.paths.length), random)) {
        half.restore();
        half.spoil(path, damage.bytes);
        this.judged(basename(path), damage.what, await resumeVerdict(half, path));
        this.tried(`half minted: ${basename(path)}`);
      }
  }

  outcome(): Outcome {
    const verdicts = Object.fromEntries(Object.entries(this.verdicts).sort());
    return {
      trials: this.done,
      violations: this.violations,
      figures: { damaged: this.damaged, verdicts },
    };
  }

  private judged(name: string, what: string, verdict: string): void {
    if (verdict.startsWith("!")) this.violations.add(`${name}, ${what}: ${verdict}`);
    else this.verdicts[verdict] = (this.verdicts[verdict] ?? 0) + 1;
  }

  private tried(name: string): void {
    this.damaged[name] = (this.damaged[name] ?? 0) + 1;
    if (++this.done % NOTE_EVERY === 0) this.note(`${this.done} damages, now ${name}`);
  }
}

/** All of them if that many are wanted, else some. */
function* chosen(
  damages: Damages,
  wanted: number,
  random: SeededRandom,
): Generator<ReturnType<Target["damages"]["make"]>> {
  if (wanted >= damages.count) for (let i = 0; i < damages.count; i++) yield damages.make(i);
  else for (let i = 0; i < wanted; i++) yield damages.make(random.below(damages.count));
}

function judgesOf({ judges, sometimes = [] }: Target, done: number): readonly Judge[] {
  return done % 4 === 0 ? [...judges, ...sometimes] : judges;
}

function mintDamages(half: HalfMinted, path: string): Damages {
  return all(bitFlips(half.original(path)), truncations(half.original(path)));
}

/** A mint that resumes with it must end in the bytes of one that nobody interrupted. */
function resumeVerdict(half: HalfMinted, path: string): Promise<string> {
  const names = [basename(path), "shard 0", "epoch 1"];
  return refusedOr("mint", names, async () => {
    const differing = await half.resume(path);
    return differing.length === 0
      ? "mint: the same"
      : `! a resumed mint makes other files: ${differing.join(", ")}`;
  });
}
