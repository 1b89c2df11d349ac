/** Money moves at the rate, smoothly, on a clock that the test holds. */
import { describe, expect, it } from "vitest";
import { Pace } from "../../../apps/credit-worker/pace.ts";
import { contents } from "../../core/store/ledger-world.ts";
import { Mint } from "./mint.ts";
import { acknowledged, newCrediting, TestClock } from "./stage.ts";

const generous = { perUser: 1000, perAd: 1000 };

describe("a slice", () => {
  it.each([
    [undefined, 1000],
    [1, 1],
    [9, 1],
    [25, 2],
    [500, 50],
    [10_000, 1000],
    [1_000_000, 1000],
  ])("at a rate of %s has at most %s claims", (rate, claims) => {
    expect(new Pace(rate, new TestClock()).sliceClaims).toBe(claims);
  });
});

describe("the bucket", () => {
  it("lets the first slice pass at once, then one when the last has run out", async () => {
    const clock = new TestClock();
    const pace = new Pace(100, clock);
    for (let i = 0; i < 5; i++) {
      await pace.ready();
      pace.charge(10);
    }
    expect(clock.slept).toEqual([100, 100, 100, 100]);
  });

  it("saves nothing up: after a pause there is no burst", async () => {
    const clock = new TestClock();
    const pace = new Pace(100, clock);
    clock.now += 60_000;
    for (let i = 0; i < 3; i++) {
      await pace.ready();
      pace.charge(10);
    }
    expect(clock.slept).toEqual([100, 100]);
  });

  it("without a rate never waits", async () => {
    const clock = new TestClock();
    const pace = new Pace(undefined, clock);
    for (let i = 0; i < 5; i++) {
      await pace.ready();
      pace.charge(1000);
    }
    expect(clock.slept).toEqual([]);
  });
});

describe("crediting at a rate", () => {
  const mint = new Mint({ lanePackets: 300, quota: generous });
  const claims = Array.from({ length: 600 }, (_, serial) => mint.claim(0, serial, `u${serial % 7}`));
  const batches = [0, 200, 400].map((from) =>
    mint.batch(0, claims.slice(from, from + 200), { from, to: from + 200 }),
  );

  it("takes its time over several batches, and at no moment is ahead of the rate by more than a slice", async () => {
    const { crediting, clock, path } = await newCrediting(mint, 100);
    const startMs = clock.now;
    let aheadMax = 0;
    clock.onSleep = () => {
      const allowed = ((clock.now - startMs) / 1000) * 100;
      aheadMax = Math.max(aheadMax, crediting.stats.created - allowed);
    };
    for (const batch of batches) await acknowledged(crediting, mint, 0, batch);
    expect(contents(path).totals.packets).toBe(600);
    // 60 slices of 10, the first at once.
    expect(clock.now - startMs).toBe(5900);
    expect(aheadMax).toBeLessThanOrEqual(10);
  });

  it("known claims cost no time: batches that come again cannot build up", async () => {
    const { crediting, clock } = await newCrediting(mint, 100);
    for (const batch of batches) await acknowledged(crediting, mint, 0, batch);
    clock.now += 1000;
    const pauses = clock.slept.length;
    for (const batch of [...batches, ...batches]) await acknowledged(crediting, mint, 0, batch);
    expect(clock.slept.length).toBe(pauses);
    expect(crediting.stats.exists).toBe(1200);
  });
});
