import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

/**
 * Every experiment in its short form, run as anybody runs it: as a process, with one JSON line and an exit code.
 */
const ROOT = join(import.meta.dirname, "../../..");
const MAIN = join(ROOT, "dist/scripts/torture/main.js");
const run = promisify(execFile);

const names = readdirSync(join(ROOT, "scripts/torture/experiments")).map((file) => file.replace(/\.ts$/, ""));

describe("torture", () => {
  it.each(names)("%s: nothing is violated", { timeout: 300_000 }, async (name) => {
    // Of an experiment that fails, its line says more than its exit code.
    const { stdout } = await run(process.execPath, [MAIN, name, "--seed", "1"], { cwd: ROOT }).catch(
      (error) => error,
    );
    const report = JSON.parse(stdout);
    expect(report.first ?? []).toEqual([]);
    expect(report).toMatchObject({ torture: name, violations: 0, seed: 1 });
    expect(report.trials).toBeGreaterThan(0);
  });

  it.each([[[]], [["no-such-experiment"]], [["--full"]], [["--trials", "none"]]])(
    "%j: refused with the names of what there is",
    async (args) => {
      const ended = await run(process.execPath, [MAIN, ...args], { cwd: ROOT }).catch((error) => error);
      expect(ended).toMatchObject({ code: 2, stdout: "" });
      expect(ended.stderr).toContain("npm run torture -- NAME");
    },
  );
});
