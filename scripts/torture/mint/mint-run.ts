/**
 * One run of the real generator on a simulated disk. Its threads' work is done in this one, on the same disk, between
 * two turns of the event loop.
 */
import { generate } from "../../../generator/generate.ts";
import { LaneMint } from "../../../generator/lane.ts";
import { runLane, type WithLaneFile } from "../../../generator/lane-job.ts";
import type { RunLanes } from "../../../generator/threads.ts";
import type { DiskOptions } from "../simulated-disk/disk-process.ts";
import type { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";

export const ROOTS = { seedsDir: "/srv/seeds", keysDir: "/srv/keys", dataDir: "/srv/data" } as const;
export const CAMPAIGN = "gala-mint";
const NOW_MS = Date.parse("2026-01-01T00:00:00Z");
const PACKETS = 24;
const CAMPAIGN_TEXT = JSON.stringify({
  campaign: CAMPAIGN,
  mode: "test",
  budgetCents: PACKETS * 100,
  packets: PACKETS,
  shards: 2,
  split: { rule: "double-mean", minCents: 1, maxCents: 2000 },
  ads: [
    { id: 1, name: "Sponsor A", weight: 2 },
    { id: 2, name: "Sponsor B", weight: 1 },
  ],
  expiresAt: "2099-01-01T00:00:00Z",
});

/** A run to its end. `--resume` begins where nothing was begun, as an operator uses it who does not know. */
export async function runMint(disk: SimulatedDisk): Promise<void> {
  await generate(
    {
      roots: { ...ROOTS, disk },
      campaignText: CAMPAIGN_TEXT,
      workers: 1,
      dryRun: false,
      resume: true,
    },
    { nowMs: NOW_MS, progress: { update() {} }, runLanes: lanesOn(disk) },
  );
}

/**
 * A run that is killed behind so many operations of its disk, if it has as many.
 * @returns its disk, on which nothing is under way any more
 */
export async function killedMint(
  machine: SimulatedDisk,
  operations: number,
  options: DiskOptions,
): Promise<SimulatedDisk> {
  let stop = () => {};
  const killed = new Promise<void>((resolve) => {
    stop = resolve;
  });
  const disk = machine.process({
    ...options,
    fault: ({ number }) => {
      if (number < operations) return undefined;
      disk.kill();
      stop();
      return undefined;
    },
  });
  await Promise.race([runMint(disk), killed]);
  disk.kill();
  return disk;
}

function lanesOn(disk: SimulatedDisk): RunLanes {
  const withFile: WithLaneFile = (path, _, use) => use(disk.openForThread(path));
  return async (jobs, { secrets }, _, onDone) => {
    const mint = new LaneMint(secrets, () => {});
    const readings = [];
    for (const job of jobs) {
      // A thread answers in a turn of its own.
      await new Promise((resolve) => setImmediate(resolve));
      const reading = runLane(job, mint, withFile);
      await onDone(job, reading);
      readings.push(reading);
    }
    return readings;
  };
}
