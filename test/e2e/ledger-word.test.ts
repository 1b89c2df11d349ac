import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { freePort } from "../../scripts/torture/stage/free-port.ts";
import { type Minted, mint } from "../../scripts/torture/stage/minted.ts";
import { Program } from "../../scripts/torture/stage/program.ts";
import { RedisServer } from "../../scripts/torture/stage/redis-server.ts";
import { redisIsMissing } from "../fakes/missing.ts";
import { newNotes, shakeAndOpen } from "./audience.ts";

/**
 * A node asks the ledger for its word on the journal before it hands anything out, and serves without it if none
 * comes. (Who is refused by that word: scripts/torture/experiments/two-nodes.ts.)
 */
const PATIENCE = { timeout: 40_000, interval: 20 };

let minted: Minted;
let redis: RedisServer;
let programs: Program[];

beforeEach(async () => {
  minted = await mint();
  redis = new RedisServer(await freePort());
  await redis.start();
  programs = [];
});
afterEach(async () => {
  await Promise.all(programs.map((program) => program.kill()));
  await redis.kill();
  minted.remove();
});

function program(...args: string[]): Program {
  const { seedsDir, keysDir, dataDir } = minted.roots;
  const env = { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir, QUEUE_URL: redis.url };
  const made = new Program([...args, "--campaign", minted.campaign, "--json"], env);
  programs.push(made);
  return made;
}

async function vouched(url: string): Promise<string | undefined> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return /^hongbao_ledger_vouched\{.*\} (\d)$/m.exec(text)?.[1];
}

describe.skipIf(redisIsMissing)("a ledger's word", () => {
  it("is waited for before a node is ready; without it the node serves, warns, and hears it later", async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const node = program("node", "--shard", "0", "--port", `${port}`, "--open-now");
    const ready = node.start();
    const seen = await vi.waitFor(() => fetch(`${url}/readyz`), PATIENCE);
    expect([seen.status, await seen.json()]).toEqual([503, expect.objectContaining({ code: "starting" })]);
    await ready;
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await vouched(url)).toBe("0");
    await vi.waitFor(() => expect(node.stderr).toContain("no ledger has answered"), PATIENCE);
    const notes = newNotes();
    await shakeAndOpen(url, { user: "ann", device: "phone" }, notes, () => false);
    expect(notes.opened.size).toBe(1);

    await program("credit").start(false);
    await vi.waitFor(async () => expect(await vouched(url)).toBe("1"), PATIENCE);
    await vi.waitFor(() => expect(node.stderr).toContain("a ledger has answered"), PATIENCE);
  });

  it("comes from a running worker; a node that was killed asks for it anew", async () => {
    const worker = program("credit");
    await worker.start(false);
    await vi.waitFor(() => expect(worker.stderr).toContain("crediting"), PATIENCE);
    const node = program("node", "--shard", "0", "--port", "0", "--open-now");
    for (let start = 0; start < 2; start++) {
      const { url } = JSON.parse(await node.start()) as { url: string };
      await vi.waitFor(async () => expect(await vouched(url)).toBe("1"), PATIENCE);
      await node.kill();
    }
  });
});
