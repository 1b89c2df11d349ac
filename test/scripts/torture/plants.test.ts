import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const TORTURE = join(ROOT, "scripts/torture");
const run = promisify(execFile);

describe("planted bugs", () => {
  it.each(readdirSync(join(TORTURE, "plants")))("%s fits the tree, and names an experiment", async (name) => {
    const patch = join(TORTURE, "plants", name);
    await run("git", ["apply", "--check", patch], { cwd: ROOT });
    const experiment = /^caught by: ([a-z-]+) --trials \d+$/m.exec(readFileSync(patch, "utf8"))?.[1];
    expect(existsSync(join(TORTURE, `experiments/${experiment}.ts`))).toBe(true);
  });
});
