import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextChange, onAir, openNowShow, parseShow, type Show } from "../../../core/format/show.ts";

const BASE = Date.parse("2027-02-06T14:00:00Z");
const at = (seconds: number) => new Date(BASE + seconds * 1000).toISOString();
const show = (rounds: object[], more: object = {}) =>
  JSON.stringify({ campaign: "gala", version: 1, rounds, ...more });
const round = (opens: number, closes: number, more: object = {}) => ({
  id: `r${opens}-${closes}`,
  opensAt: at(opens),
  closesAt: at(closes),
  ads: [1],
  ...more,
});

describe("show config", () => {
  it("fills in what may be left out", () => {
    expect(parseShow(show([round(0, 1)]))).toMatchObject({ stop: false, rounds: [{ hitProbability: 1 }] });
  });

  it.each([
    ["no JSON", "{"],
    ["closes before it opens", show([round(5, 5)])],
    ["two rounds of one id", show([round(0, 1), round(0, 1)])],
    ["a time without a zone", show([{ ...round(0, 1), opensAt: "2027-02-06T14:00:00" }])],
    ["no ads", show([round(0, 1, { ads: [] })])],
    ["odds above 1", show([round(0, 1, { hitProbability: 1.01 })])],
    ["odds below 0", show([round(0, 1, { hitProbability: -0.01 })])],
    ["no rate", show([round(0, 1, { packetsPerSecond: 0 })])],
    ["version 0", show([round(0, 1)], { version: 0 })],
    ["an unknown field", show([round(0, 1, { odds: 1 })])],
    ["a campaign in capitals", show([round(0, 1)], { campaign: "Gala" })],
  ])("%s is refused", (_, text) => {
    expect(() => parseShow(text)).toThrow(expect.objectContaining({ code: "invalid_show" }));
  });
});

describe("what is on air", () => {
  const plan = parseShow(show([round(10, 20), round(15, 30), round(40, 50)]));

  it.each([
    [9.999, "countdown", []],
    [10, "open", ["r10-20"]],
    [15, "open", ["r10-20", "r15-30"]],
    [20, "open", ["r15-30"]],
    [30, "countdown", []],
    [40, "open", ["r40-50"]],
    [50, "over", []],
  ])("at second %d it is %s", (second, state, ids) => {
    const air = onAir(plan, BASE + second * 1000);
    expect(air.state).toBe(state);
    expect(air.rounds.map(({ id }) => id)).toEqual(ids);
  });

  it("nothing is on air without a plan or when stopped; a plan without rounds is over", () => {
    expect(onAir(undefined, BASE).state).toBe("none");
    expect(onAir({ ...plan, stop: true }, BASE + 15_000).state).toBe("stopped");
    expect(onAir({ ...plan, rounds: [] }, BASE).state).toBe("over");
    expect(onAir(openNowShow("gala", [1], at(60)), BASE)).toMatchObject({ state: "open" });
    expect(onAir(openNowShow("gala", [1], at(60)), BASE + 60_000).state).toBe("over");
  });

  it("without a plan, when stopped, and behind the last round nothing will change by itself", () => {
    expect(nextChange(undefined, BASE)).toBeUndefined();
    expect(nextChange({ ...plan, stop: true }, BASE)).toBeUndefined();
    expect(nextChange(plan, BASE)).toBe(BASE + 10_000);
    expect(nextChange(plan, BASE + 49_999)).toBe(BASE + 50_000);
    expect(nextChange(plan, BASE + 50_000)).toBeUndefined();
  });

  it("the answer changes at nextChange, and at no moment before it", () => {
    const second = fc.integer({ min: 0, max: 100 });
    const rounds = fc.uniqueArray(fc.tuple(second, fc.integer({ min: 1, max: 20 })), {
      selector: ([opens, length]) => `${opens}-${opens + length}`,
      maxLength: 6,
    });
    fc.assert(
      fc.property(rounds, fc.integer({ min: -5, max: 130 }), (spans, now) => {
        const value: Show = parseShow(show(spans.map(([opens, length]) => round(opens, opens + length))));
        const nowMs = BASE + now * 1000;
        const until = nextChange(value, nowMs) ?? nowMs + 200_000;
        for (let ms = nowMs; ms < until; ms += 500) expect(onAir(value, ms)).toEqual(onAir(value, nowMs));
      }),
    );
  });
});
