import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { BlockFeed } from "../../../apps/access-node/block-feed.ts";
import { Channel } from "../../../apps/access-node/channel.ts";
import { Leases } from "../../../apps/access-node/leases.ts";
import { Pacer } from "../../../apps/access-node/pacer.ts";
import { HongbaoError } from "../../../core/format/error.ts";
import type { Frame } from "../../../core/format/frame.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import { SeedReader } from "../../../core/store/seed-reader.ts";
import { type Minted, mint } from "../../../scripts/torture/stage/minted.ts";

let minted: Minted;
let seeds: SeedReader;

beforeAll(async () => {
  minted = await mint({ packets: 5000, budgetCents: 1_000_000, shards: 1 });
  const { manifest } = await readManifest(minted.epochDir);
  const [shard] = manifest.shards;
  if (shard === undefined) throw new Error("one shard was minted");
  seeds = await SeedReader.open(minted.epochDir.seed(0), manifest, shard);
});
afterAll(async () => {
  await seeds.close();
  minted.remove();
});

/** A channel over the first lane whose leases become durable when the test says so. */
function stage(cursor = 0) {
  const frames: Frame[] = [];
  let release: () => void = () => {};
  let held = Promise.resolve();
  const leases = new Leases(
    [
      { packets: 3750, cursor },
      { packets: 1250, cursor: 0 },
    ],
    (frame) => {
      frames.push(frame);
      return held;
    },
  );
  const [layout] = seeds.layout.lanes;
  if (layout === undefined) throw new Error("a lane");
  const hold = () => {
    held = new Promise((resolve) => {
      release = resolve;
    });
  };
  const channel = new Channel(0, layout, cursor, new BlockFeed(seeds, layout), leases);
  return { channel, frames, hold, release: () => release(), layout };
}

const code = (error: unknown) => (error instanceof HongbaoError ? error.code : error);

/** A channel over a copy of the seed file whose first block went bad after it was opened. */
async function damagedStage() {
  const { manifest } = await readManifest(minted.epochDir);
  const [shard] = manifest.shards;
  if (shard === undefined) throw new Error("one shard was minted");
  const path = `${minted.epochDir.seed(0)}.copy`;
  writeFileSync(path, readFileSync(minted.epochDir.seed(0)));
  const reader = await SeedReader.open(path, manifest, shard);
  onTestFinished(() => reader.close().catch(() => {}));
  const [layout] = reader.layout.lanes;
  if (layout === undefined) throw new Error("a lane");
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(layout.recordsAt) ^ 1, layout.recordsAt);
  writeFileSync(path, bytes);
  const leases = new Leases([{ packets: layout.packets, cursor: 0 }], async () => {});
  return { channel: new Channel(0, layout, 0, new BlockFeed(reader, layout), leases), layout, reader };
}

describe("channel (invariants 1 and 3)", () => {
  it("gives every packet of the lane once, in file order, to takers that never coordinate", async () => {
    const { channel, layout } = stage();
    const taken: number[] = [];
    const tokens = new Set<string>();
    const taker = async () => {
      for (;;) {
        const packet = await channel.take();
        if (typeof packet === "string") return packet;
        taken.push(packet.position);
        tokens.add(Buffer.from(packet.token).toString("hex"));
      }
    };
    const ends = await Promise.all(Array.from({ length: 50 }, taker));
    expect(new Set(ends)).toEqual(new Set(["sold-out"]));
    expect(taken).toEqual(Array.from({ length: layout.packets }, (_, i) => i));
    expect(tokens.size).toBe(layout.packets);
    expect([channel.left, channel.tryTake()]).toEqual([0, "sold-out"]);
  });

  it("gives nothing above a lease that is not on the disk yet", async () => {
    const { channel, hold, release, frames } = stage();
    hold();
    await channel.load();
    expect(channel.tryTake()).toBe("wait");
    expect(frames).toEqual([{ type: "lease", lane: 0, upTo: 8 }]);
    const waiting = channel.take();
    release();
    expect(await waiting).toMatchObject({ position: 0 });
  });

  it("never leases more than half of 256 ahead in each of two lanes, however fast it is emptied", async () => {
    const { channel, frames } = stage();
    for (let i = 0; i < 2000; i++) await channel.take();
    let cursor = 0;
    for (const frame of frames) {
      if (frame.type !== "lease") continue;
      expect(frame.upTo).toBeGreaterThan(cursor);
      cursor = frame.upTo;
    }
    expect(cursor - channel.position).toBeLessThanOrEqual(128);
  });

  it("once closed it gives nothing more, also to those who wait", async () => {
    const { channel, hold, release } = stage();
    hold();
    const waiting = channel.take();
    channel.close();
    release();
    expect(await waiting).toBe("closed");
    expect(channel.tryTake()).toBe("closed");
  });

  it("waits for a block that is on its way, and for nothing when there is nothing to wait for", async () => {
    const { channel, layout } = stage();
    await channel.ready();
    expect(channel.tryTake()).toMatchObject({ lane: 0, position: 0, ad: layout.ad });
    const end = stage(layout.packets);
    await end.channel.ready();
    await end.channel.load();
    expect([end.frames, end.channel.left, await end.channel.take()]).toEqual([[], 0, "sold-out"]);
    const { channel: closed, frames } = stage();
    closed.close();
    await closed.ready();
    expect([frames, await closed.take()]).toEqual([[], "closed"]);
    expect(closed.left).toBe(layout.packets);
  });

  it("leases nothing for a packet that it cannot give, and gives none that it has not leased", async () => {
    const { channel, frames } = stage();
    // The first look asks for the lease; only the second finds that the block is not there.
    expect(channel.tryTake()).toBe("wait");
    await new Promise((resolve) => setImmediate(resolve));
    expect(frames).toHaveLength(1);
    expect([channel.tryTake(), channel.position, channel.left]).toEqual(["wait", 0, channel.packets]);
    await channel.load();
    expect(channel.tryTake()).toMatchObject({ position: 0 });
    expect([channel.position, channel.left]).toEqual([1, channel.packets - 1]);
  });

  it("a block that went bad ends its lane: those who wait are told, and nothing more is left of it", async () => {
    const { channel } = await damagedStage();
    expect([await channel.take().then(() => "taken", code), channel.isDamaged]).toEqual([
      "invalid_seed_file",
      true,
    ]);
    expect([channel.left, channel.tryTake(), await channel.take()]).toEqual([0, "sold-out", "sold-out"]);
  });

  it("a disk that cannot be read for a while does not end the lane", async () => {
    const { channel, layout, reader } = await damagedStage();
    await reader.close();
    expect(await channel.take().then(() => "taken", code)).toBe("unreadable_file");
    expect([channel.isDamaged, channel.left]).toEqual([false, layout.packets]);
  });

  it("starts in the middle of a block where a restart left it", async () => {
    const { channel } = stage(1500);
    expect(await channel.take()).toMatchObject({ position: 1500 });
  });
});

describe("pacer", () => {
  it("releases rate x time, whatever the rhythm of the asking, and never a burst after a silence", () => {
    for (const stepMs of [1, 7, 10, 33, 90]) {
      const pacer = new Pacer(20, 0);
      let released = 0;
      for (let ms = 0; ms <= 10_000; ms += stepMs) {
        if (!pacer.allows(ms)) continue;
        pacer.spend();
        released++;
      }
      const most = Math.min(202, Math.floor(10_000 / stepMs) + 1);
      expect(released).toBeLessThanOrEqual(most);
      expect(released).toBeGreaterThanOrEqual(Math.min(199, most - 1));
    }
    const pacer = new Pacer(100, 0);
    let burst = 0;
    while (pacer.allows(3600_000)) {
      pacer.spend();
      burst++;
    }
    expect(burst).toBe(5);
  });
});
