import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { killAll, type RunOptions, run, startNode } from "./cli.ts";
import { expectRefusal, secretsBelow } from "./refusals.ts";
import { campaignText, post } from "./stage.ts";

/**
 * Disks that fill up, stood in for by a limit on the size of files (and /dev/full): whoever cannot write stops with
 * one sentence, and goes on where it stopped when there is room again.
 */
const cwd = mkdtempSync(join(tmpdir(), "full-disk-"));
afterAll(async () => {
  await killAll();
  rmSync(cwd, { recursive: true, force: true });
});

const NODE = ["--campaign", "gala", "--shard", "0"];
const REPLAY = ["credit", "--campaign", "gala", "--replay", "data/gala/e1/node-0000"];
const hongbao = (args: readonly string[], options: RunOptions = {}) => run(args, { cwd, ...options });

describe("on a full disk", () => {
  it("a key is not made by halves", async () => {
    const ended = await hongbao(["keys", "new", "operator", "--out", "half.key"], { fileKibMax: 0 });
    expectRefusal(ended, 1, /half\.key|the disk is full \(EFBIG\): make room, then run the command again/);
    expect(ended.stdout).toBe("");
    expect(readdirSync(cwd)).toEqual([]);
  });

  it("a mint stops, and is resumed to the end", async () => {
    const campaign = JSON.parse(campaignText("gala"));
    writeFileSync(
      join(cwd, "gala.json"),
      JSON.stringify({ ...campaign, packets: 1200, budgetCents: 120_000, quota: { perUser: 2, perAd: 2 } }),
    );
    const stopped = await hongbao(["generate", "gala.json"], { fileKibMax: 16 });
    expectRefusal(stopped, 1, /full|EFBIG/, secretsBelow(cwd));
    expect(existsSync(join(cwd, "seeds/gala/e1/manifest.json"))).toBe(false);
    const unserved = await hongbao(["node", ...NODE, "--port", "0"]);
    expectRefusal(unserved, 2, /campaign gala has no complete epoch/);
    const resumed = await hongbao(["generate", "gala.json", "--resume", "--json"]);
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(JSON.parse(resumed.stdout)).toMatchObject({ epoch: 1, packets: 1200 });
  });

  it("a node stops at once, and what it has promised is kept", async () => {
    const { node, url } = await startNode([...NODE, "--open-now"], { cwd, fileKibMax: 4 });
    const opened: string[] = [];
    for (let user = 0; user < 200; user++) {
      const holder = { user: `user-${user}`, device: "phone" };
      const shaken = await post(url, "/v1/shake", holder).catch(() => ({}) as Record<string, unknown>);
      const { token, pass } = shaken;
      const claim = await post(url, "/v1/open", { ...holder, token, pass }).catch(() => undefined);
      if (claim === undefined) break;
      if (claim["status"] === "crediting") opened.push(String(claim["packet"]));
    }
    expect(await node.ended).toBe(1);
    expectRefusal(
      { code: 1, stdout: node.stdout, stderr: node.stderr },
      1,
      /the journal in .* could not be written .*: the node stops; free or repair the disk, then start it again/,
      secretsBelow(cwd),
    );
    expect(opened.length).toBeGreaterThan(5);
    const again = await startNode(NODE, { cwd });
    expect(await again.node.stop()).toBe(0);

    const full = await hongbao(REPLAY, { fileKibMax: 8 });
    expectRefusal(full, 1, /the ledger .*ledger\.db .*(disk|full)/);
    const replayed = await hongbao(REPLAY);
    expect(replayed.code, replayed.stderr).toBe(0);
    const reconciled = await hongbao(["reconcile", "gala", "--json"]);
    const report = JSON.parse(reconciled.stdout);
    expect(report).toMatchObject({ balanced: true, opened: { packets: 0 } });
    // The last claim may have been durable though its answer never left.
    expect(report.credited.packets - opened.length).toBeLessThanOrEqual(1);
    expect(report.credited.packets).toBeGreaterThanOrEqual(opened.length);
  });

  it("finance's page is refused, not left empty without a word", async () => {
    const ended = await hongbao(["reconcile", "gala", "--json", "--html", "/dev/full"]);
    expectRefusal(ended, 1, /the disk is full \(ENOSPC\): make room/);
    expect(JSON.parse(ended.stdout)).toHaveProperty("error");
  });

  it("a log that cannot be written stops no node", async () => {
    const { node } = await startNode(NODE, { cwd, stderrTo: "/dev/full" });
    expect(await node.stop()).toBe(0);
  });
});
