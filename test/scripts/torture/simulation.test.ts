import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

/**
 * A seed is a life: the same in every process, to the last event. Otherwise a failing seed would be worth nothing.
 */
const ROOT = join(import.meta.dirname, "../../..");
const MAIN = join(ROOT, "dist/scripts/torture/main.js");
const run = promisify(execFile);

async function lives(seed: number, trials: number) {
  const args = [MAIN, "simulate", "--seed", `${seed}`, "--trials", `${trials}`];
  const { stdout } = await run(process.execPath, args, { cwd: ROOT });
  const { logHash, events, happened, violations } = JSON.parse(stdout);
  return { logHash, events, happened, violations };
}

describe("simulation", () => {
  it("the same seeds live the same lives in another process", async () => {
    const [first, second] = await Promise.all([lives(40, 5), lives(40, 5)]);
    expect(first.events).toBeGreaterThan(1000);
    expect(second).toEqual(first);
  });

  it("another seed lives another life", async () => {
    const [one, other] = await Promise.all([lives(40, 1), lives(41, 1)]);
    expect(other.logHash).not.toBe(one.logHash);
  });
});
