import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { TOKEN_BYTES } from "../../core/format/token.ts";
import { balance } from "../../generator/books.ts";
import { LaneMint, type LaneRecord, type LaneTask, seenBitmap } from "../../generator/lane.ts";
import { laneFile } from "../../generator/lane-file.ts";
import type { MintedShard } from "../../generator/mint.ts";
import { makePlan } from "../../generator/plan.ts";
import { countAmount, emptyTally, histogram, sumTallies } from "../../generator/tally.ts";
import { campaign } from "./campaigns.ts";

const SECRETS = {
  campaign: "gala-2027",
  mode: "test",
  epoch: 1,
  mintKey: Buffer.alloc(32, 1),
  settlementKey: Buffer.alloc(32, 2),
  tokenRoot: Buffer.alloc(32, 3),
} as const;
const REST = { rule: "double-mean", minCents: 1, maxCents: 2000 } as const;
const LANE = { ad: 1, packets: 5000, cents: 444_000, tiers: [], rest: REST };
const RECORDS_AT = 100;

function task(changes: Partial<LaneTask> = {}): LaneTask {
  const seen = seenBitmap(8000);
  return {
    shard: 3,
    shardPackets: 8000,
    lane: LANE,
    firstPacket: 0,
    recordsAt: RECORDS_AT,
    seen,
    ...changes,
  };
}

function file(): number {
  const path = join(mkdtempSync(join(tmpdir(), "hongbao-lane-")), "shard");
  const fd = openSync(path, "w+");
  rmSync(dirname(path), { recursive: true });
  return fd;
}

describe("a lane that was written is read back", () => {
  test("and its packets are counted", () => {
    let counted = 0;
    const mint = new LaneMint(SECRETS, (packets) => {
      counted += packets;
    });
    const fd = file();
    mint.write(task(), laneFile(fd));
    const reading = mint.read(task(), laneFile(fd));
    expect(reading.tally).toMatchObject({ packets: 5000, cents: 444_000 });
    expect(reading.hashes).toHaveLength(5 * 32);
    expect([reading.outOfBounds, reading.repeated, counted]).toEqual([0, 0, 10_000]);
    const { hashes, ...draft } = mint.draft(task());
    expect([draft, hashes.length]).toEqual([{ ...reading, hashes: undefined }, 0]);
    closeSync(fd);
  });

  test.each([0, 13, 44, 1024 * TOKEN_BYTES, 5000 * TOKEN_BYTES - 1])("unless byte %i was changed", (at) => {
    const mint = new LaneMint(SECRETS, () => {});
    const fd = file();
    mint.write(task(), laneFile(fd));
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, RECORDS_AT + at);
    byte[0] = (byte[0] ?? 0) ^ 1;
    writeSync(fd, byte, 0, 1, RECORDS_AT + at);
    const record = Math.floor(at / TOKEN_BYTES);
    expect(() => mint.read(task(), laneFile(fd))).toThrow(
      `shard 3, ad 1, record ${record}: the file does not read back as it was sealed`,
    );
    closeSync(fd);
  });

  test.each([{ tokenRoot: Buffer.alloc(32, 9) }, { settlementKey: Buffer.alloc(32, 9) }, { epoch: 2 }])(
    "unless it was sealed under other keys",
    (other) => {
      const fd = file();
      new LaneMint({ ...SECRETS, ...other }, () => {}).write(task(), laneFile(fd));
      expect(() => new LaneMint(SECRETS, () => {}).read(task(), laneFile(fd))).toThrow(/does not read back/);
      closeSync(fd);
    },
  );

  test("unless it is another ad's", () => {
    const fd = file();
    const mint = new LaneMint(SECRETS, () => {});
    mint.write(task(), laneFile(fd));
    expect(() => mint.read(task({ lane: { ...LANE, ad: 2 } }), laneFile(fd))).toThrow(/does not read back/);
    closeSync(fd);
  });

  test("and an amount that its rule does not allow is counted, tiers excepted", () => {
    const fd = file();
    const mint = new LaneMint(SECRETS, () => {});
    const tiers = [{ cents: 8888, count: 2 }];
    mint.write(task({ lane: { ...LANE, tiers } }), laneFile(fd));
    expect(mint.read(task({ lane: { ...LANE, tiers } }), laneFile(fd)).outOfBounds).toBe(0);
    expect(mint.read(task(), laneFile(fd)).outOfBounds).toBe(2);
    closeSync(fd);
  });

  test("and a serial that was dealt twice is counted, over all lanes of the shard", () => {
    const mint = new LaneMint(SECRETS, () => {});
    const [fd, seen] = [file(), seenBitmap(8000)];
    const first = task({ seen });
    const second = task({ seen, firstPacket: 4000, lane: { ...LANE, packets: 3000 }, recordsAt: 500_000 });
    mint.write(first, laneFile(fd));
    mint.write(second, laneFile(fd));
    expect(mint.read(first, laneFile(fd)).repeated).toBe(0);
    expect(mint.read(second, laneFile(fd)).repeated).toBe(1000);
    expect(mint.draft({ ...second, seen }).repeated).toBe(3000);
    closeSync(fd);
  });
});

describe("the books of a mint", () => {
  const plan = makePlan(campaign({ packets: 4, budgetCents: 40, shards: 1, ads: [{ id: 1, name: "A" }] }));
  const minted = (amounts: number[], outOfBounds = 0, repeated = 0) => {
    const tally = emptyTally();
    for (const amount of amounts) countAmount(tally, amount);
    const record: LaneRecord = { tally, outOfBounds, hashes: new Uint8Array(0) };
    const shards = plan.shards.map((shard): MintedShard => ({ plan: shard, records: [record] }));
    return { shards, repeated, resumedLanes: 0 };
  };

  test("balance when all of it holds", () => {
    expect(balance(plan, minted([1, 9, 10, 20])).checks.every(({ ok }) => ok)).toBe(true);
  });

  test.each([
    ["budget exact", minted([1, 9, 10, 21])],
    ["count exact", minted([20, 20])],
    ["bounds held", minted([1, 9, 10, 20], 1)],
    ["no serial twice", minted([1, 9, 10, 20], 0, 1)],
  ])("and nothing is published unless: %s", (name, wrong) => {
    expect(() => balance(plan, wrong)).toThrow(new RegExp(`nothing is published: ${name}: `));
  });
});

test("a histogram has 1-2-5 bars, every amount in one of them", () => {
  const tally = emptyTally();
  for (const amount of [1, 2, 4, 5, 9, 10, 19, 20, 0xffff_ffff]) countAmount(tally, amount);
  const bars = histogram(sumTallies([tally, tally]));
  expect(bars.slice(0, 5)).toEqual([
    { fromCents: 1, toCents: 1, packets: 2, cents: 2 },
    { fromCents: 2, toCents: 4, packets: 4, cents: 12 },
    { fromCents: 5, toCents: 9, packets: 4, cents: 28 },
    { fromCents: 10, toCents: 19, packets: 4, cents: 58 },
    { fromCents: 20, toCents: 49, packets: 2, cents: 40 },
  ]);
  expect(bars.at(-1)).toEqual({ fromCents: 2e9, toCents: 0xffff_ffff, packets: 2, cents: 2 * 0xffff_ffff });
  for (const [i, bar] of bars.entries())
    if (i > 0) expect(bar.fromCents).toBe((bars[i - 1]?.toCents ?? 0) + 1);
  expect(histogram(emptyTally())).toEqual([]);
});
