/**
 * The promise of `--resume`, with real processes and real kills: wherever a mint dies, resuming it gives the
 * very bytes of a mint that was never interrupted, and leaves nothing else behind.
 */
import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { TOKEN_BYTES } from "../../core/format/token.ts";
import type { Roots } from "../../core/store/campaign-dir.ts";
import { PLAIN } from "./campaigns.ts";
import { everyByte, freshRoots, giveMasterKey, giveOperatorKey, NOW_MS, openEpoch, run } from "./mints.ts";

const FIXTURE = fileURLToPath(new URL("./fixtures/mint-until-killed.mjs", import.meta.url));
const SMALL = { packets: 600, shards: 2 };
/** Long enough in the threads that a kill at a random moment finds them at work. */
const LARGE = { packets: 150_000, shards: 3 };

interface Ending {
  readonly killed: boolean;
  /** disk-changing calls, of a run that came to its end */
  readonly calls: number;
}

async function mintInChild(
  roots: Roots,
  changes: Record<string, unknown>,
  { killAt = 0, killAfterMs }: { killAt?: number | string; killAfterMs?: number },
): Promise<Ending> {
  const campaignText = JSON.stringify({ ...PLAIN, ...changes });
  const options = { roots, campaignText, workers: 2, dryRun: false, resume: true, nowMs: NOW_MS };
  const child = spawn(process.execPath, [FIXTURE, JSON.stringify(options), `${killAt}`]);
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on("data", (bytes) => output.push(bytes));
  child.stderr.on("data", (bytes) => errors.push(bytes));
  const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfterMs);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.on("close", (...end) => resolve(end)),
  );
  clearTimeout(timer);
  if (signal === null && code !== 0) throw new Error(`the child failed: ${Buffer.concat(errors)}`);
  return { killed: signal === "SIGKILL", calls: Number(Buffer.concat(output).toString()) };
}

async function withKnownKeys(): Promise<Roots> {
  const roots = freshRoots();
  await giveMasterKey(roots);
  await giveOperatorKey(join(roots.keysDir, "gala-2027", "operator.key"));
  return roots;
}

/** The bytes of a mint of the same campaign, under the same master and operator keys, that nobody interrupted. */
async function uninterrupted(
  roots: Roots,
  changes: Record<string, unknown>,
): Promise<Record<string, string>> {
  const twin = freshRoots();
  for (const name of ["master.key", "operator.key"]) {
    const to = join(twin.keysDir, "gala-2027", name);
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(join(roots.keysDir, "gala-2027", name), to);
  }
  await run(twin, changes);
  return everyByte(twin);
}

describe("killed in front of a disk-changing call", () => {
  // A chain dies every third call further on: at calls of a fresh mint, then at calls of its recoveries, from
  // the making of the keys to the clearing away.
  test.each([0, 1])("chain %i: dies again and again, ends whole", async (offset) => {
    const roots = freshRoots();
    let deaths = 0;
    for (let killAt = 1 + offset; (await mintInChild(roots, SMALL, { killAt })).killed; killAt += 3) deaths++;
    expect(deaths).toBeGreaterThan(5);
    expect(everyByte(roots)).toEqual(await uninterrupted(roots, SMALL));
    expect(openEpoch(roots).packets).toHaveLength(SMALL.packets);
  });

  test("died once, at calls all over the mint and at each of its last: one resume makes it whole", async () => {
    const whole = await withKnownKeys();
    const { calls } = await mintInChild(whole, SMALL, {});
    const expected = everyByte(whole);
    const spread = [1, 2, 3].map((quarter) => Math.floor((calls * quarter) / 4));
    for (const killAt of [...spread, ...[3, 2, 1, 0].map((left) => calls - left)]) {
      const roots = await withKnownKeys();
      expect((await mintInChild(roots, SMALL, { killAt })).killed).toBe(true);
      await run(roots, SMALL, { resume: true });
      expect(everyByte(roots), `killed at call ${killAt} of ${calls}`).toEqual(expected);
    }
  });
});

test("a lane that was changed after its marker was written is not published", async () => {
  const roots = await withKnownKeys();
  // The first chmod is that of the first shard; the second has all of its lanes and no name yet.
  expect((await mintInChild(roots, SMALL, { killAt: "chmod" })).killed).toBe(true);
  const part = join(roots.seedsDir, "gala-2027", "e1", "minting", "shard-0001.seed.part");
  const bytes = readFileSync(part);
  const last = bytes.length - TOKEN_BYTES;
  const swapped = Buffer.concat([
    bytes.subarray(0, last - TOKEN_BYTES),
    bytes.subarray(last),
    bytes.subarray(last - TOKEN_BYTES, last),
  ]);
  writeFileSync(part, swapped);
  await expect(run(roots, SMALL, { resume: true })).rejects.toThrow(
    /^shard 1, ad 2, record 0: the file does not read back/,
  );
  writeFileSync(part, bytes);
  const report = await run(roots, SMALL, { resume: true });
  expect(report.lanes).toEqual({ total: 4, resumed: 4 });
  expect(everyByte(roots)).toEqual(await uninterrupted(roots, SMALL));
});

test("killed at random moments, mostly while its threads seal", async () => {
  const roots = await withKnownKeys();
  let deaths = 0;
  for (let ended = false; !ended; ) {
    const killAfterMs = deaths < 6 ? 250 + Math.random() * 900 : 60_000;
    ended = !(await mintInChild(roots, LARGE, { killAfterMs })).killed;
    if (!ended) deaths++;
  }
  expect(everyByte(roots)).toEqual(await uninterrupted(roots, LARGE));
});
