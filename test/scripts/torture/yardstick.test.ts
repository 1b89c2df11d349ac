/** What an attack is measured against: a machine that is never calm must not let a slow attack pass. */
import { describe, expect, it } from "vitest";
import { latency, slowdown, Yardstick } from "../../../scripts/torture/hostile/yardstick.ts";

/** Honest users whose calms take these times, the last one for ever after. */
function crowd(...calmsMs: number[]) {
  let taken = 0;
  return {
    takeLatenciesMs: () => {
      // What was measured before a calm began is thrown away.
      const calm = Math.floor(taken++ / 2);
      return [calmsMs[Math.min(calm, calmsMs.length - 1)] ?? 0];
    },
  };
}

describe("the yardstick of hostile", () => {
  it("takes a calm again that is more than three times as slow as the best one", async () => {
    const yardstick = new Yardstick(crowd(10, 31, 30), 1);
    expect((await yardstick.calm()).p99Ms).toBe(10);
    expect((await yardstick.calm()).p99Ms).toBe(30);
    expect(yardstick).toMatchObject({ lowestP99Ms: 10, repeated: 1, restless: 0 });
  });

  it("holds an attack against three times the best calm if the machine finds no rest", async () => {
    const yardstick = new Yardstick(crowd(10, 100), 1);
    await yardstick.calm();
    const calm = await yardstick.calm();
    expect(yardstick).toMatchObject({ repeated: 7, restless: 1 });
    expect(slowdown(calm, latency([90])).ratio).toBe(3);
  });

  it("lets nothing pass if nobody was answered in the calm, or in the attack", async () => {
    expect(slowdown(latency([]), latency([5])).ratio).toBe(Number.POSITIVE_INFINITY);
    expect(slowdown(latency([5]), latency([])).ratio).toBe(Number.POSITIVE_INFINITY);
  });
});
