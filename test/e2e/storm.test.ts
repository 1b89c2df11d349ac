import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readLedger } from "../../core/store/ledger-reader.ts";
import { type Minted, mint } from "../../scripts/torture/stage/minted.ts";
import { hongbao, Program } from "../../scripts/torture/stage/program.ts";
import { freePort, RedisServer } from "../../scripts/torture/stage/redis-server.ts";
import { redisIsMissing } from "../fakes/missing.ts";
import { type Notes, newNotes, shakeAndOpen } from "./audience.ts";

/**
 * A show under fire: nodes, worker and Redis are killed at random while an audience shakes and opens. In the end
 * no packet went to two users, every acknowledged open is credited with the cents it showed, and finance agrees.
 */
const USERS = 1200;
const AT_ONCE = 24;
const KILLS = 14;
const NODE_KILLS = KILLS / 2;
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

describe.skipIf(redisIsMissing)("a show under fire", () => {
  it("kills of nodes, worker and Redis lose nothing, give nothing twice, and the books balance", async () => {
    await redis.start();
    const ports = [await freePort(), await freePort()];
    const nodes = ports.map((port, shard) =>
      program([
        "node",
        "--campaign",
        minted.campaign,
        "--shard",
        `${shard}`,
        "--port",
        `${port}`,
        "--open-now",
      ]),
    );
    const worker = program(["credit", "--campaign", minted.campaign]);
    await Promise.all([...nodes.map((node) => node.start()), worker.start(false)]);

    const notes = newNotes();
    let next = 0;
    let over = false;
    const lane = async () => {
      while (next < USERS) {
        const index = next++;
        const url = `http://127.0.0.1:${ports[index % 2]}`;
        await shakeAndOpen(url, { user: `user-${index}`, device: "phone" }, notes, () => over);
      }
    };
    const crowd = Promise.all(Array.from({ length: AT_ONCE }, lane));
    for (let kill = 0; kill < KILLS; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 150 + ((kill * 97) % 250)));
      const [first, second] = nodes;
      if (kill % 4 === 0) await restart(first);
      else if (kill % 4 === 1) await restart(worker, false);
      else if (kill % 4 === 2) await restart(second);
      else if (kill % 8 === 3) await redis.flush();
      else {
        await redis.kill();
        await redis.start();
      }
    }
    const timer = setTimeout(() => {
      over = true;
    }, 40_000);
    await crowd;
    clearTimeout(timer);

    await vi.waitFor(() => expect(credited().packets).toBeGreaterThanOrEqual(notes.opened.size), SETTLE);
    for (const node of nodes) expect(await node.stop()).toBe(0);
    expect(await stopOnceReady(worker)).toBe(0);

    expect(notes.opened.size).toBeGreaterThan(USERS / 2);
    expect(notes.wrong).toEqual([]);
    expect([...notes.given.values()].filter((users) => users.size > 1)).toEqual([]);
    const report = await books();
    expect(report.balanced).toBe(true);
    expect(report["credited"]).toEqual({ packets: notes.opened.size, cents: sum(notes.opened) });
    expect(report["burned"]?.packets).toBeLessThanOrEqual(NODE_KILLS * 256);
    const inLedger = readLedger(minted.epochDir.of.ledger);
    const rows = [...inLedger.credits()].map((row) => [`1-${row.shard}-${row.serial}`, row.cents]);
    inLedger.close();
    expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(notes.opened));
  }, 120_000);

  it("a second worker with another ledger on the same queue is found, and pays nobody", async () => {
    await redis.start();
    const port = await freePort();
    const node = program([
      "node",
      "--campaign",
      minted.campaign,
      "--shard",
      "0",
      "--port",
      `${port}`,
      "--open-now",
    ]);
    const worker = program(["credit", "--campaign", minted.campaign]);
    await Promise.all([node.start(), worker.start(false)]);
    const notes = newNotes();
    const users = async (from: number, to: number) => {
      for (let i = from; i < to; i++)
        await shakeAndOpen(
          `http://127.0.0.1:${port}`,
          { user: `user-${i}`, device: "phone" },
          notes,
          () => false,
        );
    };
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
    await redis.start();
    const port = await freePort();
    const node = program([
      "node",
      "--campaign",
      minted.campaign,
      "--shard",
      "0",
      "--port",
      `${port}`,
      "--open-now",
    ]);
    const worker = program(["credit", "--campaign", minted.campaign]);
    await Promise.all([node.start(), worker.start(false)]);
    const notes = newNotes();
    for (let i = 0; i < 60; i++)
      await shakeAndOpen(
        `http://127.0.0.1:${port}`,
        { user: `user-${i}`, device: "phone" },
        notes,
        () => false,
      );
    await vi.waitFor(() => expect(credited().packets).toBe(60), SETTLE);
    await worker.kill();
    const first = await books();
    const lost = `${minted.epochDir.of.ledger}`;
    renameSync(lost, `${lost}.lost`);
    for (const suffix of ["-wal", "-shm"]) rmSync(`${lost}${suffix}`, { force: true });
    await worker.start(false);
    // The new ledger answers the next batch with its own name; the node then starts from its beginning.
    await shakeAndOpen(`http://127.0.0.1:${port}`, { user: "one-more", device: "phone" }, notes, () => false);
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

async function restart(program: Program | undefined, waitForLine = true): Promise<void> {
  await program?.kill();
  await program?.start(waitForLine);
}

/** A worker prints no line: it is up when its log says so. Before that, SIGTERM finds nobody to end it cleanly. */
async function stopOnceReady(worker: Program): Promise<number | null> {
  await vi.waitFor(() => expect(worker.stderr).toContain("crediting"), SETTLE);
  return await worker.stop();
}
