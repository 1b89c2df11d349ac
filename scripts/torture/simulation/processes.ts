/**
 * An experiment of many trials, divided among processes: each is this same program with a part of the seeds.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { type Outcome, Violations } from "../experiment.ts";
import { Tallies } from "./tallies.ts";

const MAIN = fileURLToPath(new URL("../main.js", import.meta.url));
const SEEDS = 2 ** 32;

interface Part {
  readonly trials: number;
  readonly violations: number;
  readonly first?: readonly string[];
  readonly logHash: string;
  readonly events: number;
  readonly simulatedHours: number;
  readonly happened: Readonly<Record<string, number>>;
}

/** @param partTrials trials of one process */
export async function inProcesses(
  experiment: string,
  { trials, seed, note }: { trials: number; seed: number; note: (text: string) => void },
  partTrials: number,
): Promise<Outcome> {
  const parts: Part[] = [];
  let next = 0;
  let isBroken = false;
  const lane = async () => {
    while (next * partTrials < trials && !isBroken) {
      const part = next++;
      const from = part * partTrials;
      const count = Math.min(partTrials, trials - from);
      const result = await runPart(experiment, (seed + from) % SEEDS, count);
      parts[part] = result;
      isBroken ||= result.violations > 0;
      note(`${parts.reduce((sum, one) => sum + (one?.trials ?? 0), 0)} of ${trials} seeds`);
    }
  };
  await Promise.all(Array.from({ length: cpus().length }, lane));
  return together(parts);
}

/** Its stderr is ours: a broken promise is told where it broke. */
async function runPart(experiment: string, seed: number, trials: number): Promise<Part> {
  // Lives leave much behind that dies young.
  const args = ["--max-semi-space-size=64", MAIN, experiment, "--seed", `${seed}`, "--trials", `${trials}`];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  const [code] = (await once(child, "close")) as [number | null];
  const text = Buffer.concat(chunks).toString("utf8");
  if (text === "") throw new Error(`seeds ${seed} to ${seed + trials - 1}: the process ended with ${code}`);
  return JSON.parse(text) as Part;
}

function together(parts: readonly Part[]): Outcome {
  const violations = new Violations();
  const tallies = new Tallies();
  const logs = createHash("sha256");
  let [trials, events, simulatedHours] = [0, 0, 0];
  for (const part of parts) {
    trials += part.trials;
    events += part.events;
    simulatedHours += part.simulatedHours;
    logs.update(part.logHash);
    tallies.add(part.happened);
    for (const what of part.first ?? []) violations.add(what);
  }
  simulatedHours = Math.round(simulatedHours * 100) / 100;
  const figures = { logHash: logs.digest("hex"), events, simulatedHours, happened: tallies.all };
  return { trials, violations, figures };
}
