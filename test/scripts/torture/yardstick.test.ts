/** What an attack is measured against: a machine that is never calm must not let a slow attack pass. */
import { describe, expect, it, vi } from "vitest";
import { type Round, type Spell, Watch, Yardstick } from "../../../scripts/torture/hostile/yardstick.ts";

/** A yardstick that has seen a calm of each of these lengths. */
async function yardstickOf(...calmsMs: number[]): Promise<Yardstick> {
  let calm = 0;
  const watch = () => new Watch({ takeLatenciesMs: () => [calm] }, 1, () => 0);
  const yardstick = new Yardstick(watch, 4);
  for (calm of calmsMs) expect(new Set((await yardstick.calm()).latenciesMs)).toEqual(new Set([calm]));
  return yardstick;
}

const spell = (latenciesMs: number[], quietMs = 4): Spell => ({ latenciesMs, quietMs });
const round = (calmMs: number[], attackedMs: number[], quietMs = 4): Round => ({
  calm: spell(calmMs),
  attacked: spell(attackedMs, quietMs),
});
const many = (n: number, ms: number) => Array<number>(n).fill(ms);

describe("the yardstick of hostile", () => {
  it("compares the slowest percent of the attacks with that of the calms", async () => {
    const yardstick = await yardstickOf(10);
    const quiet = round([...many(980, 2), ...many(20, 10)], [...many(980, 3), ...many(20, 15)]);
    expect(yardstick.slowdown([quiet, quiet])).toEqual({
      calmP50Ms: 2,
      calmP99Ms: 10,
      p50Ms: 3,
      p99Ms: 15,
      ratio: 1.5,
      rounds: [2, 2],
      p99sMs: [
        [10, 15],
        [10, 15],
      ],
      quietMs: 8,
    });
  });

  it("takes the middle round: a good one excuses no slow attack, and a bad one makes none", async () => {
    const yardstick = await yardstickOf(10);
    const slow = round(many(100, 10), many(100, 50));
    const lucky = round(many(100, 10), many(100, 10));
    expect(yardstick.slowdown([lucky, slow, slow]).ratio).toBe(5);
    expect(yardstick.slowdown([lucky, slow, lucky]).ratio).toBe(1);
    expect(yardstick.slowdown([lucky, slow]).ratio).toBe(5);
  });

  it("counts no slice in or beside which the machine's neighbours took any of it", async () => {
    // Before the first slice, and at the end of each.
    const ticks = [7, 7, 7, 9, 9, 9, 9];
    const latenciesMs = [[99_999], [1, 2], [300], [500], [400], [3], [4]];
    const watch = new Watch(
      { takeLatenciesMs: () => latenciesMs.shift() ?? [] },
      5,
      () => ticks.shift() ?? 9,
    );
    await vi.waitUntil(() => ticks.length <= 1, { interval: 1 });
    const whole = watch.end();
    expect(whole.latenciesMs).toEqual([1, 2, 3, 4]);
    expect(whole.quietMs).toBeGreaterThan(0);
  });

  it("judges by three rounds of which half a calm was quiet, before the attack and in it", async () => {
    const yardstick = await yardstickOf(10);
    const calm = round([1], [1], 2);
    expect(yardstick.isSettled([calm, calm, calm])).toBe(true);
    expect(yardstick.isSettled([calm, calm])).toBe(false);
    const stormy = round([1], [100], 1);
    expect(yardstick.isSettled([calm, calm, stormy])).toBe(false);
    expect(yardstick.isSettled([calm, calm, { calm: stormy.attacked, attacked: calm.attacked }])).toBe(false);
    expect(yardstick.slowdown([stormy, calm, stormy])).toMatchObject({ ratio: 1, rounds: [1, 3] });
  });

  it("takes a calm that is as long as the attack, however soon it was quiet enough", async () => {
    const yardstick = await yardstickOf(10);
    expect((await yardstick.calm(60)).quietMs).toBeGreaterThanOrEqual(55);
  });

  it("counts a calm as twice the usual one at most", async () => {
    const yardstick = await yardstickOf(10, 11, 9, 100);
    expect(yardstick.calms).toEqual({ taken: 4, lowestP99Ms: 9, usualP99Ms: 11, highestP99Ms: 100 });
    expect(yardstick.slowdown([round([100], [90])])).toMatchObject({ calmP99Ms: 100, ratio: 4.09 });
  });

  it("lets nothing pass if nobody was answered in the calm, or in the attack", async () => {
    const yardstick = await yardstickOf(10);
    expect(yardstick.slowdown([round([], [5])]).ratio).toBe(Number.POSITIVE_INFINITY);
    expect(yardstick.slowdown([round([5], [])]).ratio).toBe(Number.POSITIVE_INFINITY);
  });
});
