import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CampaignDir, type Roots } from "../../../core/store/campaign-dir.ts";

let dir: string;
let roots: Roots;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "campaign-"));
  roots = { seedsDir: join(dir, "seeds"), keysDir: "/keys", dataDir: "/data" };
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function makeEpochs(...names: string[]): CampaignDir {
  for (const name of names) mkdirSync(join(roots.seedsDir, "gala", name), { recursive: true });
  return new CampaignDir(roots, "gala");
}

function complete(of: CampaignDir, epoch: number): void {
  writeFileSync(of.epoch(epoch).manifest, "{}");
}

describe("campaign directory", () => {
  it("has a place for everything, by epoch and shard", () => {
    const of = new CampaignDir(roots, "gala");
    const epoch = of.epoch(3);
    expect([of.masterKey, of.operatorKey, of.ledger, of.operatorShow]).toEqual([
      "/keys/gala/master.key",
      "/keys/gala/operator.key",
      "/data/gala/ledger.db",
      "/data/gala/show.json",
    ]);
    expect([epoch.settlementKey, epoch.nodeKey(7), epoch.node(12_345)]).toEqual([
      "/keys/gala/e3/settlement.key",
      "/keys/gala/e3/node-0007.key",
      "/data/gala/e3/node-12345",
    ]);
    const seeds = join(roots.seedsDir, "gala/e3");
    expect([epoch.manifest, epoch.signature("approver"), epoch.seed(7), epoch.owner(7)]).toEqual([
      join(seeds, "manifest.json"),
      join(seeds, "manifest.approver.sig"),
      join(seeds, "shard-0007.seed"),
      join(seeds, "shard-0007.owner"),
    ]);
  });

  it.each(["", "../gala", "Gala", "a/b", "-a", "a".repeat(64)])("%j names none", (name) => {
    expect(() => new CampaignDir(roots, name)).toThrow(
      expect.objectContaining({
        code: "usage",
        message: expect.stringContaining(`"${name}" is no campaign's name`),
      }),
    );
  });

  it("knows the epochs that were begun, in order, and takes nothing else for one", async () => {
    const of = makeEpochs("e10", "e2", "e1", "e0", "e01", "e123456", "old-e3", "e3.bak");
    expect(await of.startedEpochs()).toEqual([1, 2, 10]);
  });

  it("without a directory, or with a file in its place, has begun none", async () => {
    const of = new CampaignDir(roots, "gala");
    expect(await of.startedEpochs()).toEqual([]);
    writeFileSync(roots.seedsDir, "");
    expect(await of.startedEpochs()).toEqual([]);
  });

  it("that cannot be listed says so instead of being empty", async () => {
    symlinkSync("seeds", roots.seedsDir);
    await expect(new CampaignDir(roots, "gala").startedEpochs()).rejects.toMatchObject({ code: "ELOOP" });
  });

  it("serves the highest epoch that is complete, or the one asked for", async () => {
    const of = makeEpochs("e1", "e2", "e3");
    complete(of, 1);
    complete(of, 2);
    expect((await of.completeEpoch()).epoch).toBe(2);
    expect((await of.completeEpoch(1)).epoch).toBe(1);
  });

  it("without a complete epoch says which is missing and what to do", async () => {
    const of = makeEpochs("e1");
    const sentence = (which: string) => ({
      code: "missing_file",
      message: `campaign gala has ${which} under ${of.seedsDir}: run \`hongbao generate\` first, or set SEEDS_DIR`,
    });
    await expect(of.completeEpoch()).rejects.toMatchObject(sentence("no complete epoch"));
    await expect(of.completeEpoch(1)).rejects.toMatchObject(sentence("no complete epoch 1"));
  });
});
