import { describe, expect, it } from "vitest";
import { newSigningKey } from "../../core/format/signature.ts";
import { CampaignDir } from "../../core/store/campaign-dir.ts";
import { makePlan, planHash } from "../../generator/plan.ts";
import { publishKeyFiles } from "../../generator/publish.ts";
import { killedMint, runMint } from "../../scripts/torture/mint/mint-run.ts";
import { NOTHING } from "../../scripts/torture/simulated-disk/platter.ts";
import { SimulatedDisk } from "../../scripts/torture/simulated-disk/simulated-disk.ts";
import { campaign as campaignWith } from "./campaigns.ts";

const campaign = campaignWith({ campaign: "gala" });
const plan = makePlan(campaign);
const KEY = Buffer.alloc(32, 1);
const secrets = {
  campaign: campaign.campaign,
  mode: campaign.mode,
  epoch: 1,
  mintKey: KEY,
  settlementKey: KEY,
  tokenRoot: KEY,
};
const keys = { master: KEY, operator: newSigningKey() };

/** What a mint does before it seals anything. */
async function publishOn(disk: SimulatedDisk): Promise<void> {
  const roots = { seedsDir: "/srv/seeds", keysDir: "/srv/keys", dataDir: "/srv/data", disk };
  const epoch = new CampaignDir(roots, campaign.campaign).epoch(1);
  await publishKeyFiles({ campaign, plan, planHash: planHash(campaign, plan), epoch }, secrets, keys);
}

/** A process that is killed behind so many operations. */
async function killed(operations: number): Promise<SimulatedDisk> {
  const machine = new SimulatedDisk();
  await machine.makeDirectory("/srv");
  let left = operations;
  let kill = () => {};
  const end = new Promise<void>((resolve) => {
    kill = resolve;
  });
  const disk = machine.copy({
    schedule: (_, complete) => {
      if (left-- > 0) queueMicrotask(complete);
      else setImmediate(kill);
    },
  });
  await Promise.race([publishOn(disk), end]);
  disk.kill();
  return disk;
}

describe("publish", () => {
  it("a key file of a killed mint is lost with the power, though the mint was resumed to its end", async () => {
    const whole = await killed(Number.POSITIVE_INFINITY);
    const expected = [...whole.files()];
    expect(expected.filter(([path]) => path.endsWith(".key"))).toHaveLength(3);
    for (let operations = 0; operations <= whole.operations; operations++) {
      const resumed = (await killed(operations)).process();
      await publishOn(resumed);
      const left = resumed.afterPowerLoss(() => NOTHING).files();
      const lost = expected.filter(([path, bytes]) => left.get(path)?.equals(bytes) !== true);
      expect([operations, lost.map(([path]) => path)]).toEqual([operations, []]);
    }
  });
});

describe("a run that finds an epoch complete", () => {
  it("makes it durable first: the signature of a run that died before its last sync is lost with the power", async () => {
    const machine = new SimulatedDisk();
    let operations = 0;
    const watched = machine.copy({
      fault: ({ number, kind, path }) => {
        if (kind === "sync" && path === "/srv/seeds/gala-mint/e1") operations = number;
        return undefined;
      },
    });
    await runMint(watched);
    const interrupted = await killedMint(machine.copy(), operations - 1, {});
    const names = () =>
      [...interrupted.files().keys()].filter((path) => path.endsWith("manifest.operator.sig"));
    expect(names()).toHaveLength(1);
    const next = interrupted.process();
    await runMint(next);
    const left = next.afterPowerLoss(() => NOTHING);
    expect([...left.files().keys()]).toEqual(expect.arrayContaining(names()));
  });
});
