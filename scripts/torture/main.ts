/**
 * `npm run torture -- NAME [--full] [--trials N] [--seed N]`: one experiment, one JSON line on stdout, progress on
 * stderr. Exit code 0 if nothing was violated, 1 if something was or the experiment broke down, 2 for bad usage.
 */
import { execFileSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { readdirSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { type Experiment, type Outcome, Violations } from "./experiment.ts";

const EXPERIMENTS = new URL("./experiments/", import.meta.url);
const SEEDS = 2 ** 32;

process.exitCode = await main();

async function main(): Promise<number> {
  const names = readdirSync(EXPERIMENTS).flatMap((file) => /^([a-z-]+)\.[jt]s$/.exec(file)?.[1] ?? []);
  const asked = readArguments(names);
  if (typeof asked === "string") {
    process.stderr.write(`${asked}\n`);
    return 2;
  }
  const { experiment } = (await import(new URL(`${asked.name}.js`, EXPERIMENTS).href)) as {
    experiment: Experiment;
  };
  const { unit, short, full } = experiment.trials;
  const trials = asked.trials ?? (asked.full ? full : short);
  process.stderr.write(`${asked.name}: ${experiment.claim}\n${trials} ${unit}, seed ${asked.seed}\n`);
  const startedMs = performance.now();
  const note = (text: string) => process.stderr.write(`${asked.name}: ${text}\n`);
  const outcome = await experiment.run({ trials, seed: asked.seed, note }).catch(brokenDown);
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  process.stdout.write(`${JSON.stringify(report(asked.name, unit, asked.seed, seconds, outcome))}\n`);
  return outcome.violations.count === 0 ? 0 : 1;
}

/** Whatever it was, the experiment has not shown its claim. */
function brokenDown(error: unknown): Outcome {
  const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const violations = new Violations();
  violations.add(`it broke down: ${what}`);
  return { trials: 0, violations, figures: {} };
}

interface Asked {
  readonly name: string;
  readonly full: boolean;
  readonly trials: number | undefined;
  readonly seed: number;
}

/** @returns what to run, or the sentence that says what is wrong. */
function readArguments(names: readonly string[]): Asked | string {
  const usage = `npm run torture -- NAME [--full] [--trials N] [--seed N]; NAME is one of ${names.join(", ")}`;
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { full: { type: "boolean" }, trials: { type: "string" }, seed: { type: "string" } },
    });
    const [name = "", ...rest] = positionals;
    if (!names.includes(name) || rest.length > 0) return usage;
    const trials = values.trials === undefined ? undefined : Number(values.trials);
    if (trials !== undefined && !(Number.isSafeInteger(trials) && trials > 0))
      return "--trials is a whole number above 0";
    const seed = values.seed === undefined ? randomInt(SEEDS) : Number(values.seed);
    if (!(Number.isSafeInteger(seed) && seed >= 0 && seed < SEEDS)) return "--seed is a number below 2^32";
    return { name, full: values.full === true, trials, seed };
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}: ${usage}`;
  }
}

function report(name: string, unit: string, seed: number, seconds: number, outcome: Outcome) {
  const { trials, violations, figures } = outcome;
  return {
    torture: name,
    trials,
    unit,
    violations: violations.count,
    ...(violations.count > 0 && { first: violations.first }),
    seed,
    seconds,
    ...figures,
    machine: `${cpus()[0]?.model ?? "unknown"} x${cpus().length}, Node ${process.versions.node}`,
    commit: execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim(),
  };
}
