import { describe, expect, it } from "vitest";
import { HongbaoError } from "../../../core/format/error.ts";
import { encodeManifest, type Manifest, parseManifest } from "../../../core/format/manifest.ts";
import { Mint } from "../../apps/credit-worker/mint.ts";

const { manifest } = new Mint({ shards: 2, lanePackets: 10 });

function refusal(bytes: Uint8Array): string {
  try {
    parseManifest(bytes, "manifest.json");
  } catch (error) {
    if (error instanceof HongbaoError && error.code === "invalid_manifest") return error.message;
    throw error;
  }
  throw new Error("nothing was refused");
}

/** A copy of the manifest that somebody changed and encoded again, so that nothing but its sums can tell. */
function changed(change: (draft: Manifest) => void): Buffer {
  const draft = structuredClone(manifest);
  change(draft);
  return encodeManifest(draft);
}

const first = <T>(rows: readonly T[]): T => {
  const [row] = rows;
  if (row === undefined) throw new Error("a row");
  return row;
};

describe("manifest", () => {
  it("comes back as it was written", () => {
    expect(parseManifest(encodeManifest(manifest), "manifest.json")).toEqual(manifest);
  });

  it.each<[string, (draft: Manifest) => void, RegExp]>([
    ["a shard out of its place", (m) => m.shards.reverse(), /shard 1 stands at place 0/],
    [
      "a shard of more packets than its lanes",
      (m) => first(m.shards).packets++,
      /the lanes of shard 0 do not add up to the shard/,
    ],
    [
      "a shard of more cents than its lanes",
      (m) => first(m.shards).cents++,
      /the lanes of shard 0 do not add up to the shard/,
    ],
    ["a shard of another size", (m) => first(m.shards).bytes++, /shard 0 has an impossible size/],
    ["more packets than its shards", (m) => m.packets++, /its shards do not add up to the budget/],
    ["more cents than its shards", (m) => m.budgetCents++, /its shards do not add up to the budget/],
    [
      "an ad of more packets than its lanes",
      (m) => first(m.ads).packets++,
      /the lanes of ad 1 do not add up to it/,
    ],
    [
      "an ad of fewer cents than its lanes",
      (m) => first(m.ads).cents--,
      /the lanes of ad 1 do not add up to it/,
    ],
    [
      "an ad without a lane that is promised packets",
      (m) => m.ads.push({ id: 3, name: "C", rule: "uniform", packets: 1, cents: 1 }),
      /the lanes of ad 3 do not add up to it/,
    ],
    ["lanes of an ad that it does not name", (m) => m.ads.pop(), /its ads do not add up to the budget/],
    ["an ad named twice", (m) => m.ads.push(first(m.ads)), /its ads do not add up to the budget/],
    [
      "a histogram of fewer packets",
      (m) => first(m.histogram).packets--,
      /its histogram does not add up to the budget/,
    ],
    [
      "a histogram of more cents",
      (m) => first(m.histogram).cents++,
      /its histogram does not add up to the budget/,
    ],
  ])("with %s contradicts itself, and says where", (_, change, why) => {
    expect(refusal(changed(change))).toMatch(/^manifest.json contradicts itself, .*: fetch it again$/);
    expect(refusal(changed(change))).toMatch(why);
  });

  it("an ad that got no packets needs no lane", () => {
    const bytes = changed((m) => m.ads.push({ id: 3, name: "C", rule: "uniform", packets: 0, cents: 0 }));
    expect(parseManifest(bytes, "manifest.json").ads).toHaveLength(3);
  });

  it("in another spelling is refused: its hash is its name", () => {
    const spaced = Buffer.from(JSON.stringify(manifest, null, 1));
    expect(refusal(spaced)).toBe(
      "manifest.json contradicts itself, its JSON is not canonical: fetch it again",
    );
  });

  it("that is none says so", () => {
    expect(refusal(Buffer.from("{"))).toBe("manifest.json is damaged: it is not JSON; fetch it again");
    expect(refusal(Buffer.from([0x22, 0xff, 0x22]))).toBe(
      "manifest.json is damaged: it is not JSON; fetch it again",
    );
    expect(refusal(Buffer.from('{"format":"other"}'))).toMatch(
      /^manifest.json is not a manifest, fetch it again: format: Invalid input/,
    );
  });
});
