/**
 * Every file of a show, damaged in every way, and read by the programs that need it. Damage is refused by name or
 * changes nothing: no other amount is ever read, no packet is handed out again, and no books balance on other figures.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { all, bitFlips, type Damages, truncations } from "../damage/damages.ts";
import { HalfMinted } from "../damage/half-minted.ts";
import { Bench, refusedOr } from "../damage/judges.ts";
import { Scene } from "../damage/scene.ts";
import { type Target, targetsOf } from "../damage/targets.ts";
import { type Experiment, Violations } from "../experiment.ts";
import { type SeededRandom, seededRandom } from "../random.ts";

/** A resumed mint starts a thread: of its files only so many damages are tried for each that is tried elsewhere. */
const SHARE_OF_MINT = 0.005;
const MINT_DAMAGES_MAX = 2_000;
const NOTE_EVERY = 20_000;

export const experiment: Experiment = {
  claim:
    "a damaged file is refused by name or changes nothing: never another amount, never a second hand-out",
  trials: { unit: "damages", short: 3_000, full: 1_000_000 },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    const random = seededRandom(seed);
    const dir = mkdtempSync(join(tmpdir(), "hongbao-half-"));
    const verdicts = new Map<string, number>();
    const damaged: Record<string, number> = {};
    let done = 0;
    const count = (what: string, damage: string, verdict: string) => {
      if (verdict.startsWith("!")) violations.add(`${what}, ${damage}: ${verdict}`);
      else verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
    };
    const tried = (what: string) => {
      damaged[what] = (damaged[what] ?? 0) + 1;
      if (++done % NOTE_EVERY === 0) note(`${done} damages, now ${what}`);
    };
    const scene = await Scene.play();
    try {
      const bench = await Bench.of(scene);
      for (const target of await targetsOf(bench))
        for (const damage of chosen(target.damages, Math.ceil(trials * target.share), random)) {
          scene.restore();
          scene.spoil(target.path, damage.bytes);
          for (const judge of target.judges) {
            count(target.name, damage.what, await judge());
            scene.restoreBesideDamage();
          }
          tried(target.name);
        }
      const half = await HalfMinted.make(join(dir, "half"));
      const share = Math.min(MINT_DAMAGES_MAX, Math.ceil(trials * SHARE_OF_MINT));
      for (const path of half.paths)
        for (const damage of chosen(mintDamages(half, path), Math.ceil(share / half.paths.length), random)) {
          half.restore();
          half.spoil(path, damage.bytes);
          count(basename(path), damage.what, await resumeVerdict(half, path));
          tried(`half minted: ${basename(path)}`);
        }
      const figures = { damaged, verdicts: Object.fromEntries([...verdicts].sort()) };
      return { trials: done, violations, figures };
    } finally {
      scene.remove();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

/** All of them if that many are wanted, else some. */
function* chosen(
  damages: Damages,
  wanted: number,
  random: SeededRandom,
): Generator<ReturnType<Target["damages"]["make"]>> {
  if (wanted >= damages.count) for (let i = 0; i < damages.count; i++) yield damages.make(i);
  else for (let i = 0; i < wanted; i++) yield damages.make(random.below(damages.count));
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
