import { existsSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Minted, mint, mintInto } from "../../../scripts/torture/stage/minted.ts";
import { serve } from "./served.ts";

let minted: Minted;

beforeEach(async () => {
  minted = await mint();
});
afterEach(() => minted.remove());

async function play(users: readonly string[]): Promise<void> {
  const node = await serve(minted);
  for (const user of users) await node.shake({ user, device: "phone" });
  await node.stop();
}

describe("one journal a shard (invariant 4)", () => {
  it("a journal of seeds that were deleted and minted again under the same epoch is not taken for theirs", async () => {
    await play(["ann", "ben"]);
    const { seedsDir, keysDir } = minted.roots;
    for (const dir of [seedsDir, keysDir]) renameSync(dir, `${dir}-first`);
    await mintInto(dirname(seedsDir));
    await expect(serve(minted)).rejects.toMatchObject({
      code: "owned_elsewhere",
      message: expect.stringContaining("hand-outs from other seeds"),
    });
    expect(existsSync(minted.epochDir.owner(0))).toBe(false);
    for (const dir of [seedsDir, keysDir]) {
      rmSync(dir, { recursive: true });
      renameSync(`${dir}-first`, dir);
    }
    await play(["cid"]);
  });

  it("a journal whose owner record was lost is claimed again for its own seeds", async () => {
    await play(["ann", "ben"]);
    rmSync(minted.epochDir.owner(0));
    await play(["cid"]);
    expect(existsSync(minted.epochDir.owner(0))).toBe(true);
  });
});
