import { beforeAll, describe, expect, it } from "vitest";
import { Life } from "../../../scripts/torture/lives/life.ts";
import { type MintedDisk, mintedDisk } from "../../../scripts/torture/lives/minted-disk.ts";
import { judge } from "../../../scripts/torture/lives/verdict.ts";
import { Witness } from "../../../scripts/torture/lives/witness.ts";
import { seededRandom } from "../../../scripts/torture/random.ts";
import type { SimulatedDisk } from "../../../scripts/torture/simulated-disk/simulated-disk.ts";

let minted: MintedDisk;
beforeAll(async () => {
  minted = await mintedDisk(100);
});

const fail = (what: unknown) => {
  throw what;
};

function begin(disk: SimulatedDisk, witness: Witness): Promise<Life> {
  const random = seededRandom(1);
  return Life.begin(disk, witness, { minted, random, segmentBytes: 2000, broken: fail, onFailure: fail });
}

describe("open shard", () => {
  it("a journal whose maker was killed before its name was on the disk is lost with claims that were shown", async () => {
    const maker = minted.disk.copy({
      schedule: (operation, complete) => {
        if (/^link .*segment-00000000/.test(operation)) {
          complete();
          maker.kill();
        } else queueMicrotask(complete);
      },
    });
    const witness = new Witness();
    const life = await begin(await untilDead(maker, witness), witness);
    const packet = await life.shake("ann");
    if (packet) await life.open(packet);
    expect(witness.claims).toHaveLength(1);
    for (const fate of life.disk.everyPowerLoss()) {
      const after = await begin(life.disk.afterPowerLoss(fate), witness.until(life.disk.moment));
      expect(await judge(after, minted, seededRandom(1))).toEqual([]);
    }
  });
});

/** The same machine once the process on `disk` has been killed: it never hears of it. */
async function untilDead(disk: SimulatedDisk, witness: Witness): Promise<SimulatedDisk> {
  begin(disk, witness).then(fail, fail);
  for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve));
  expect([...disk.files().keys()].some((path) => path.endsWith("segment-00000000.log"))).toBe(true);
  return disk.process();
}
