/**
 * A plant: one deliberate bug, as a patch that is applied to a scratch copy of the tree and never to the product.
 * In front of its diff it says in words what it breaks, and with `caught by:` which experiment must find it.
 *
 *     The journal is never synced: an acknowledged claim is in the page cache only.
 *     caught by: power-loss --trials 200
 *     diff --git …
 */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export interface Plant {
  readonly name: string;
  readonly what: string;
  readonly experiment: string;
  readonly trials: string;
  readonly patch: string;
}

/** What an experiment said: its JSON line, or why it gave none. */
export interface Verdict {
  readonly violations: number;
  readonly first: readonly string[];
  readonly brokeDown?: string;
}

const run = promisify(execFile);
/** The tree that is running: dist/scripts/torture lies three below it. */
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const PLANTS = join(ROOT, "scripts/torture/plants");
const COPIED = [
  "core",
  "generator",
  "apps",
  "scripts",
  "package.json",
  "tsconfig.json",
  "tsconfig.build.json",
];
const EXPERIMENT_MS_MAX = 180_000;

export function readPlants(): Plant[] {
  const names = readdirSync(PLANTS).filter((name) => name.endsWith(".patch"));
  return names.sort().map((file) => {
    const patch = readFileSync(join(PLANTS, file), "utf8");
    const head = /^([\s\S]+?)\ncaught by: ([a-z-]+) --trials (\d+)\n/.exec(patch);
    if (head === null) throw new Error(`${file} does not say what it breaks and who must catch it`);
    const [, what = "", experiment = "", trials = ""] = head;
    return { name: file.replace(".patch", ""), what, experiment, trials, patch: join(PLANTS, file) };
  });
}

/** Runs the plant's experiment on a scratch copy that has the bug, or on one that has not, as a control. */
export async function tryPlant(plant: Plant, planted: boolean, seed: number): Promise<Verdict> {
  const scratch = mkdtempSync(join(tmpdir(), "hongbao-plant-"));
  try {
    for (const name of COPIED) cpSync(join(ROOT, name), join(scratch, name), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(scratch, "node_modules"));
    if (planted) await run("git", ["apply", plant.patch], { cwd: scratch });
    const compiler = [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"];
    await run(process.execPath, compiler, { cwd: scratch });
    const main = join(scratch, "dist/scripts/torture/main.js");
    const args = [main, plant.experiment, "--trials", plant.trials, "--seed", `${seed}`];
    const options = { cwd: ROOT, timeout: EXPERIMENT_MS_MAX, maxBuffer: 64 * 1024 * 1024 };
    const ended = await run(process.execPath, args, options).catch((error) => error);
    return verdict(ended);
  } catch (error) {
    // A patch that no longer fits is one bug that was not caught, and not the end of the run.
    const { message, stdout = "" } = error as Error & { readonly stdout?: string };
    return { violations: 0, first: [], brokeDown: `${message} ${stdout}` };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function verdict({ stdout = "", stderr = "" }: { stdout?: string; stderr?: string }): Verdict {
  const line = stdout.trim().split("\n").at(-1) ?? "";
  try {
    const { violations, first = [] } = JSON.parse(line) as { violations: number; first?: string[] };
    return { violations, first };
  } catch {
    return { violations: 0, first: [], brokeDown: stderr.trim().split("\n").slice(-3).join(" ") };
  }
}
