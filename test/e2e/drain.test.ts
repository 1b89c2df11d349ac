import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Minted, mint } from "../../scripts/torture/stage/minted.ts";
import { hongbao, Program } from "../../scripts/torture/stage/program.ts";

let minted: Minted;
let node: Program;
let env: Record<string, string>;

beforeEach(async () => {
  minted = await mint({ packets: 2000, budgetCents: 400_000 });
  const { seedsDir, keysDir, dataDir } = minted.roots;
  env = { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir };
  node = new Program(
    ["node", "--campaign", minted.campaign, "--shard", "0", "--port", "0", "--open-now", "--json"],
    env,
  );
});
afterEach(async () => {
  await node.kill();
  minted.remove();
});

describe("SIGTERM", () => {
  it("answers what is under way, takes nothing new, returns its leases and ends with 0", async () => {
    const { url } = JSON.parse(await node.start()) as { url: string };
    const shake = async (user: number) => {
      const body = JSON.stringify({ user: `user-${user}`, device: "phone" });
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${url}/v1/shake`, { method: "POST", headers, body });
      return {
        status: response.status,
        body: (await response.json()) as { outcome?: string; code?: string },
      };
    };
    await shake(0);
    const underWay = Array.from({ length: 200 }, (_, i) => shake(i + 1).catch(() => undefined));
    await Promise.race(underWay);
    const stopped = node.stop();
    const answers = (await Promise.all(underWay)).filter((answer) => answer !== undefined);
    expect(await stopped).toBe(0);
    expect(answers.length).toBeGreaterThan(0);
    // An answer is a packet, a greeting from a lane that has closed, or a plain refusal; never a broken one.
    for (const { status, body } of answers)
      expect([body.outcome, body.code, status]).toEqual(
        status === 200
          ? [expect.stringMatching(/^(packet|greeting|over)$/), undefined, 200]
          : [undefined, "draining", 503],
      );
    await expect(shake(999)).rejects.toThrow();

    await node.start();
    expect(node.stderr).toContain('"burned":0');
    expect(await node.stop()).toBe(0);
    const given = answers.filter(({ body }) => body.outcome === "packet").length + 1;
    const books = JSON.parse((await hongbao(["reconcile", minted.campaign, "--json"], env)).stdout);
    expect(books).toMatchObject({ balanced: true, burned: { packets: 0 } });
    // Whoever was cut off between its hand-out and the answer asks again with its key and has its packet.
    expect(books.issued.packets).toBeGreaterThanOrEqual(given);
    expect(books.issued.packets).toBeLessThanOrEqual(201);
  });

  it("while it starts, ends it just as cleanly", async () => {
    const starting = node.start().catch(() => "");
    await new Promise((resolve) => setTimeout(resolve, 400));
    const code = await node.stop();
    await starting;
    // Before it has loaded there is nobody to ask; from then on it finishes its start and stops.
    expect([0, null]).toContain(code);
    await node.start();
    expect(node.stderr).toContain('"burned":0');
    expect(await node.stop()).toBe(0);
  });
});
