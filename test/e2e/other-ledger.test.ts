import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readLedger } from "../../core/store/ledger-reader.ts";
import { freePort } from "../../scripts/torture/stage/free-port.ts";
import { type Minted, mint } from "../../scripts/torture/stage/minted.ts";
import { hongbao, Program } from "../../scripts/torture/stage/program.ts";
import { RedisServer } from "../../scripts/torture/stage/redis-server.ts";
import { redisIsMissing } from "../fakes/missing.ts";
import { type Notes, newNotes, shakeAndOpen } from "./audience.ts";

const SETTLE = { timeout: 40_000, interval: 100 };

let minted: Minted;
let redis: RedisServer;
let programs: Program[];

beforeEach(async () => {
  minted = await mint({ packets: 3000, budgetCents: 600_000, quota: { perUser: 3, perAd: 2 } });
  redis = new RedisServer(await freePort());
  programs = [];
});
afterEach(async () => {
  await Promise.all(programs.map((program) => program.kill()));
  await redis.kill();
  minted.remove();
});

function environment(): Record<string, string> {
  const { seedsDir, keysDir, dataDir } = minted.roots;
  return { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir, QUEUE_URL: redis.url };
}

function program(args: string[]): Program {
  const made = new Program(args, environment());
  programs.push(made);
  return made;
}

/** A node and a worker, and users who shake and open at the node one after another. */
async function startShow() {
  await redis.start();
  const port = `${await freePort()}`;
  const node = program(["node", "--campaign", minted.campaign, "--shard", "0", "--port", port, "--open-now"]);
  const worker = program(["credit", "--campaign", minted.campaign]);
  await Promise.all([node.start(), worker.start(false)]);
  const notes = newNotes();
  const users = async (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      const user = { user: `user-${i}`, device: "phone" };
      await shakeAndOpen(`http://127.0.0.1:${port}`, user, notes, () => false);
    }
  };
  return { node, worker, notes, users };
}

function credited(): { packets: number; cents: number } {
  const ledger = readLedger(minted.epochDir.of.ledger);
  try {
    return ledger.totals();
  } finally {
    ledger.close();
  }
}

async function books(): Promise<Record<string, { packets: number; cents: number }> & { balanced: boolean }> {
  const { code, stdout, stderr } = await hongbao(["reconcile", minted.campaign, "--json"], environment());
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

function sum(opened: Notes["opened"]): number {
  return [...opened.values()].reduce((total, cents) => total + cents, 0);
}

describe.skipIf(redisIsMissing)("another ledger than before", () => {
  it("a second worker with another ledger on the same queue is found, and pays nobody", async () => {
    const { node, worker, notes, users } = await startShow();
    await users(0, 30);
    await vi.waitFor(() => expect(credited().packets).toBe(30), SETTLE);
    const stray = join(minted.roots.dataDir, "stray.db");
    const second = new Program(["credit", "--campaign", minted.campaign], {
      ...environment(),
      LEDGER_URL: stray,
    });
    programs.push(second);
    await second.start(false);
    await vi.waitFor(() => expect(existsSync(stray)).toBe(true), SETTLE);
    for (let more = 30; !node.stderr.includes("two ledgers answer") && more < 600; more += 5)
      await users(more, more + 5);
    expect(node.stderr).toContain("two ledgers answer");
    const ledger = readLedger(stray);
    expect(ledger.totals().packets).toBe(0);
    ledger.close();
    expect(await stopOnceReady(second)).toBe(0);
    // Once the wrong worker is gone and the node was started again, everybody is paid.
    expect(await node.stop()).toBe(0);
    await node.start();
    await vi.waitFor(() => expect(credited().packets).toBe(notes.opened.size), SETTLE);
    expect(await node.stop()).toBe(0);
    expect(await stopOnceReady(worker)).toBe(0);
    expect((await books()).balanced).toBe(true);
  }, 120_000);

  it("a ledger that was lost is paid again from the journals, by the nodes themselves and by --replay", async () => {
    const { node, worker, notes, users } = await startShow();
    await users(0, 60);
    await vi.waitFor(() => expect(credited().packets).toBe(60), SETTLE);
    await worker.kill();
    const first = await books();
    const lost = `${minted.epochDir.of.ledger}`;
    renameSync(lost, `${lost}.lost`);
    for (const suffix of ["-wal", "-shm"]) rmSync(`${lost}${suffix}`, { force: true });
    await worker.start(false);
    // The new ledger answers the next batch with its own name; the node then starts from its beginning.
    await users(60, 61);
    await vi.waitFor(() => expect(credited().packets).toBe(61), SETTLE);
    expect(await stopOnceReady(worker)).toBe(0);
    expect(await node.stop()).toBe(0);
    const second = await books();
    expect(second["credited"]).toEqual({ packets: 61, cents: sum(notes.opened) });
    expect(first["credited"]?.packets).toBe(60);

    renameSync(lost, `${lost}.lost-again`);
    for (const suffix of ["-wal", "-shm"]) rmSync(`${lost}${suffix}`, { force: true });
    const replayed = await hongbao(
      ["credit", "--campaign", minted.campaign, "--replay", minted.epochDir.node(0), "--json"],
      environment(),
    );
    expect(replayed.code).toBe(0);
    // A rebuilt ledger is the same but for its own name.
    const third = await books();
    const { ledger: _, ...rest } = third;
    expect({ ...rest, ledger: { ...second["ledger"], id: expect.any(String) } }).toEqual({
      ...second,
      ledger: { ...second["ledger"], id: expect.any(String) },
    });
  }, 120_000);
});

/** A worker prints no line: it is up when its log says so. Before that, SIGTERM finds nobody to end it cleanly. */
async function stopOnceReady(worker: Program): Promise<number | null> {
  await vi.waitFor(() => expect(worker.stderr).toContain("crediting"), SETTLE);
  return await worker.stop();
}
