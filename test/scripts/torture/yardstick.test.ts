/** What an attack is measured against: a machine that is never calm must not let a slow attack pass. */
import { describe, expect, it } from "vitest";
import { type Round, type Spell, Yardstick } from "../../../scripts/torture/hostile/yardstick.ts";

/** A yardstick that has seen a calm of each of these lengths. */
async function yardstickOf(...calmsMs: number[]): Promise<Yardstick> {
  // What was measured before a calm began is thrown away. One that the machine disturbed is taken again.
  let isTaken = false;
  let calm = 0;
  const takeLatenciesMs = () => {
    isTaken = !isTaken;
    return isTaken ? [99_999] : [calm];
  };
  const yardstick = new Yardstick({ takeLatenciesMs }, 1);
  for (calm of calmsMs) expect((await yardstick.calm()).latenciesMs).toEqual([calm]);
  return yardstick;
}

const spell = (latenciesMs: number[], stolen = 0): Spell => ({ latenciesMs, stolen });
const round = (calmMs: number[], attackedMs: number[], stolen = 0): Round => ({
  calm: spell(calmMs),
  attacked: spell(attackedMs, stolen),
});
const many = (n: number, ms: number) => Array<number>(n).fill(ms);

describe("the yardstick of hostile", () => {
  it("compares the slowest percent of all calms with that of all attacks", async () => {
    const yardstick = await yardstickOf(10);
    const quiet = round([...many(980, 2), ...many(20, 10)], [...many(980, 3), ...many(20, 15)]);
    expect(yardstick.slowdown([quiet, quiet])).toEqual({
      calmP50Ms: 2,
      calmP99Ms: 10,
      p50Ms: 3,
      p99Ms: 15,
      ratio: 1.5,
      rounds: 2,
      stolen: 0,
    });
  });

  it("does not let one good round excuse a slow attack", async () => {
    const yardstick = await yardstickOf(10);
    const slow = round(many(100, 10), many(100, 50));
    const lucky = round(many(100, 10), many(100, 10));
    expect(yardstick.slowdown([lucky, slow, slow]).ratio).toBe(5);
  });

  it("counts no round in which the machine's neighbours took much of it, fast or slow", async () => {
    const yardstick = await yardstickOf(10);
    const quiet = round(many(100, 10), many(100, 30));
    const stolen = [round(many(100, 10), many(100, 10), 0.2), round(many(100, 10), many(100, 900), 0.2)];
    expect(yardstick.slowdown([quiet, ...stolen, quiet])).toMatchObject({ ratio: 3, rounds: 2, stolen: 0 });
    expect(yardstick.isSettled([quiet, ...stolen, quiet])).toBe(true);
    expect(yardstick.isSettled([quiet, ...stolen])).toBe(false);
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
