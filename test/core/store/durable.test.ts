import { describe, expect, it } from "vitest";
import { makeDirectory } from "../../../core/store/durable.ts";
import { SimulatedDisk } from "../../../scripts/torture/simulated-disk/simulated-disk.ts";

describe("durable files", () => {
  it("a directory that a killed process has just made is lost with the power, though another has relied on it", async () => {
    // Killed between making the directory and syncing the one above it.
    const disk = SimulatedDisk.holding([["/srv/file", Buffer.from("x")]]);
    await disk.makeDirectory("/srv/data");
    await makeDirectory("/srv/data", 0o755, disk.process());
    for (const fate of disk.everyPowerLoss())
      expect((await disk.afterPowerLoss(fate).stat("/srv/data")).isDirectory()).toBe(true);
  });
});
