import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type Minted, mint } from "../../scripts/torture/stage/minted.ts";
import { hongbao, Program } from "../../scripts/torture/stage/program.ts";
import { newNotes, shakeAndOpen } from "./audience.ts";

const PATIENCE = { timeout: 30_000, interval: 100 };
const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function environment(minted: Minted): Record<string, string> {
  const { seedsDir, keysDir, dataDir } = minted.roots;
  return { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir };
}

/** Process IDs of the programs that a process forked, by their first argument. */
function childrenOf(pid: number): { pid: number; args: string }[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean);
  return children.map((child) => ({
    pid: Number(child),
    args: readFileSync(`/proc/${child}/cmdline`, "utf8").replaceAll("\0", " "),
  }));
}

describe("the demo", () => {
  it("runs a whole show on this machine and ends with books that balance", async () => {
    const dir = mkdtempSync(join(tmpdir(), "demo-"));
    cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
    const ended = await hongbao(["demo", "--packets", "300", "--shakers", "250", "--json"], {
      DATA_DIR: dir,
    });
    expect(ended.code, ended.stderr).toBe(0);
    const report = JSON.parse(ended.stdout);
    expect(report).toMatchObject({ campaign: "demo-gala", balanced: true, budget: { packets: 300 } });
    expect(report.credited.packets).toBeGreaterThan(100);
    expect(report.opened.packets + report.issued.packets + report.burned.packets).toBe(0);
    expect(report.dir.startsWith(dir)).toBe(true);
    const again = await hongbao(["reconcile", "demo-gala", "--json"], {
      SEEDS_DIR: join(report.dir, "seeds"),
      KEYS_DIR: join(report.dir, "keys"),
      DATA_DIR: join(report.dir, "data"),
    });
    const { dir: _, ...shown } = report;
    expect(JSON.parse(again.stdout)).toEqual(shown);
  });
});

describe("hongbao up, on the embedded queue", () => {
  it("serves a show that the operator sets, shifts and stops, and survives the kill of each program", async () => {
    const minted = await mint({ packets: 400, budgetCents: 80_000, quota: { perUser: 3, perAd: 2 } });
    cleanups.push(minted.remove);
    const env = environment(minted);
    const up = new Program(["up", minted.campaign, "--port", "0", "--json"], env);
    cleanups.push(() => up.kill());
    const { nodes } = JSON.parse(await up.start()) as { nodes: { url: string }[] };
    const urls = nodes.map(({ url }) => url);
    const targets = ["--campaign", minted.campaign, ...urls.flatMap((url) => ["--node", url])];
    const show = async (...args: string[]) => {
      const ended = await hongbao(["show", ...args, ...targets, "--json"], env);
      return { code: ended.code, answer: JSON.parse(ended.stdout) };
    };
    const states = async () =>
      (await show("status")).answer.map(({ status }: { status: { state: string } }) => status.state);

    expect(await states()).toEqual(["none", "none"]);
    const file = join(minted.roots.dataDir, "programme.json");
    const opensAt = new Date(Date.now() + 3600_000).toISOString();
    const closesAt = new Date(Date.now() + 2 * 3600_000).toISOString();
    const rounds = [{ id: "r1", opensAt, closesAt, ads: [1, 2], packetsPerSecond: 1000, hitProbability: 1 }];
    writeFileSync(file, JSON.stringify({ campaign: minted.campaign, version: 1, stop: false, rounds }));
    expect(await show("set", file)).toMatchObject({ code: 0, answer: { version: 1 } });
    expect(await states()).toEqual(["countdown", "countdown"]);
    expect((await show("set", file)).code).toBe(1);
    expect((await show("shift", "-3601")).code).toBe(0);
    expect(await states()).toEqual(["open", "open"]);

    const notes = newNotes();
    const crowd = async (from: number, users: number) => {
      const lanes = Array.from({ length: 8 }, async (_, lane) => {
        for (let i = from + lane; i < from + users; i += 8)
          await shakeAndOpen(urls[i % 2] ?? "", { user: `user-${i}`, device: "phone" }, notes, () => false);
      });
      await Promise.all(lanes);
    };
    await crowd(0, 60);
    const programs = childrenOf(up.pid);
    expect(programs).toHaveLength(3);
    const storm = crowd(60, 60);
    for (const { pid } of programs) process.kill(pid, "SIGKILL");
    await storm;
    expect(notes.wrong).toEqual([]);
    expect([...notes.given.values()].every((users) => users.size === 1)).toBe(true);
    const books = async () => {
      const ended = await hongbao(["reconcile", minted.campaign, "--json"], env);
      return JSON.parse(ended.stdout);
    };
    await vi.waitFor(async () => expect((await books()).credited.packets).toBe(notes.opened.size), PATIENCE);

    expect((await show("stop")).code).toBe(0);
    expect(await states()).toEqual(["stopped", "stopped"]);
    expect(await up.stop()).toBe(0);
    const report = await books();
    const cents = [...notes.opened.values()].reduce((sum, c) => sum + c, 0);
    expect(report).toMatchObject({ balanced: true, credited: { packets: notes.opened.size, cents } });
    expect(childrenGone(programs.map(({ pid }) => pid))).toBe(true);
  });

  it("closes down when its parent is killed: no orphan keeps a shard's lock", async () => {
    const minted = await mint();
    cleanups.push(minted.remove);
    const up = new Program(
      ["up", minted.campaign, "--port", "0", "--open-now", "--json"],
      environment(minted),
    );
    await up.start();
    const pids = childrenOf(up.pid).map(({ pid }) => pid);
    expect(pids).toHaveLength(3);
    await up.kill();
    await vi.waitFor(() => expect(childrenGone(pids)).toBe(true), PATIENCE);
  });
});

function childrenGone(pids: number[]): boolean {
  return pids.every((pid) => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });
}
