import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Minted, mint } from "../../scripts/torture/stage/minted.ts";
import { hongbao, Program } from "../../scripts/torture/stage/program.ts";

/** A node opens rounds by its own clock and cannot know that it is wrong: the operator is told. */
const PRELOAD = new URL("../../dist/scripts/torture/time/skewed-clock.js", import.meta.url).href;
const DAY_MS = 24 * 3600_000;

let minted: Minted;
let node: Program;
let env: Record<string, string>;

beforeEach(async () => {
  minted = await mint();
  const { seedsDir, keysDir, dataDir } = minted.roots;
  env = { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir };
});
afterEach(async () => {
  await node.kill();
  minted.remove();
});

async function start(aheadMs: number): Promise<string> {
  const offset = Buffer.alloc(8);
  offset.writeDoubleLE(aheadMs);
  const file = join(minted.roots.seedsDir, "offset");
  writeFileSync(file, offset);
  node = new Program(["node", "--campaign", minted.campaign, "--shard", "0", "--port", "0", "--json"], {
    ...env,
    NODE_OPTIONS: `--import=${PRELOAD}`,
    TORTURE_CLOCK: file,
  });
  return JSON.parse(await node.start()).url;
}

describe("a node whose clock is wrong", () => {
  it.each([
    [DAY_MS, "86400 s ahead of"],
    [-DAY_MS, "86400 s behind"],
  ])("by %s ms is named to the operator, by status and by every push", async (aheadMs, words) => {
    const url = await start(aheadMs);
    const file = join(minted.roots.seedsDir, "show.json");
    writeFileSync(file, JSON.stringify({ campaign: minted.campaign, version: 1, rounds: [] }));
    const campaign = ["--campaign", minted.campaign];
    for (const action of [
      ["status"],
      ["set", file, ...campaign],
      ["shift", "1", ...campaign],
      ["stop", ...campaign],
    ]) {
      const { code, stderr } = await hongbao(["show", ...action, "--node", url], env);
      expect(code).toBe(0);
      // A start takes time: a second more or less.
      expect(stderr.replace(/8639\d|8640\d/, "86400")).toContain(
        `the clock of ${url} is ${words} this machine's`,
      );
    }
  });

  it("is not named if it is right, or does not answer", async () => {
    const url = await start(0);
    const silent = await hongbao(["show", "status", "--node", url, "--node", "http://127.0.0.1:9"], env);
    expect(silent.stderr).not.toContain("the clock of");
    expect(await hongbao(["show", "status", "--node", url], env)).toMatchObject({ code: 0, stderr: "" });
  });
});
