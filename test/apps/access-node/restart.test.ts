import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatKeyFile, keyText, parseKeyFile } from "../../../core/format/keyfile.ts";
import { segmentPath } from "../../../core/store/journal-reader.ts";
import { approve } from "../../../generator/approve.ts";
import { newKey } from "../../../generator/keys.ts";
import { reconcile } from "../../../scripts/reconcile/reconcile.ts";
import { type Minted, mint } from "../../../scripts/torture/stage/minted.ts";
import { type Served, serve } from "./served.ts";

let minted: Minted;
let node: Served | undefined;

beforeEach(async () => {
  minted = await mint({ budgetCents: 400_000, packets: 2000 });
});
afterEach(async () => {
  await node?.stop();
  node = undefined;
  minted.remove();
});

async function shakeMany(served: Served, from: number, users: number): Promise<string[]> {
  const tokens: string[] = [];
  for (let i = from; i < from + users; i += 40) {
    const batch = Array.from({ length: Math.min(40, from + users - i) }, (_, k) =>
      served.shake({ user: `user-${i + k}`, device: "phone" }),
    );
    for (const { body } of await Promise.all(batch))
      if (body["outcome"] === "packet") tokens.push(String(body["token"]));
  }
  return tokens;
}

const books = () => reconcile({ roots: minted.roots, campaign: minted.campaign, audit: false });

describe("restart", () => {
  it("a clean stop burns nothing, and nothing is handed out twice", async () => {
    node = await serve(minted);
    const first = await shakeMany(node, 0, 200);
    await node.stop();
    node = await serve(minted);
    expect(node.burnedNow).toBe(0);
    const second = await shakeMany(node, 200, 200);
    await node.stop();
    expect(new Set([...first, ...second]).size).toBe(400);
    const report = await books();
    expect(report).toMatchObject({ balanced: true, burned: { packets: 0 }, issued: { packets: 400 } });
  });

  it("after each crash at most one lease is burned, every burned packet is listed, none comes twice", async () => {
    const tokens: string[] = [];
    let burned = 0;
    for (let life = 0; life < 6; life++) {
      node = await serve(minted);
      expect(node.burnedNow).toBeLessThanOrEqual(256);
      burned += node.burnedNow;
      tokens.push(...(await shakeMany(node, life * 100, 100)));
      await node.crash();
    }
    node = await serve(minted);
    burned += node.burnedNow;
    await node.stop();
    expect(tokens).toHaveLength(600);
    expect(new Set(tokens).size).toBe(600);
    expect(burned).toBeGreaterThan(0);
    const report = await books();
    expect(report).toMatchObject({ balanced: true, burned: { packets: burned }, issued: { packets: 600 } });
  });

  it("invariant 2: a hand-out's record is with the kernel before its answer is out", async () => {
    node = await serve(minted);
    for (let i = 0; i < 20; i++) {
      const { body } = await node.shake({ user: `recorded-${i}`, device: "phone" });
      expect(body["outcome"]).toBe("packet");
      expect(readFileSync(segmentPath(minted.epochDir.node(0), 0)).includes(`recorded-${i}`)).toBe(true);
    }
  });

  it("invariant 3: a power cut that takes every byte not synced brings no packet back", async () => {
    const path = segmentPath(minted.epochDir.node(0), 0);
    const tokens = new Set<string>();
    for (let life = 0; life < 5; life++) {
      node = await serve(minted);
      for (const token of await shakeMany(node, life * 100, 60)) {
        expect(tokens.has(token)).toBe(false);
        tokens.add(token);
      }
      const onDisk = 52 + node.shard.journal.durableOffset;
      await node.crash();
      truncateSync(path, onDisk);
    }
    expect(tokens.size).toBe(300);
  });

  it("a second process on the shard is refused while the first one runs", async () => {
    node = await serve(minted);
    await expect(serve(minted)).rejects.toMatchObject({ code: "locked" });
  });

  it("an owner without its journal, and a journal that is not the owner's, are refused", async () => {
    node = await serve(minted);
    await node.stop();
    const dir = minted.epochDir.node(0);
    renameSync(dir, `${dir}.away`);
    await expect(serve(minted)).rejects.toMatchObject({ code: "owned_elsewhere" });
    node = await serve(minted, { shard: 1 });
    await node.stop();
    rmSync(dir, { recursive: true });
    renameSync(minted.epochDir.node(1), dir);
    await expect(serve(minted)).rejects.toMatchObject({ code: "owned_elsewhere" });
    rmSync(dir, { recursive: true });
    renameSync(`${dir}.away`, dir);
    node = await serve(minted);
  });

  it("damage in front of what was synced stops the node and names the place; a torn tail does not", async () => {
    node = await serve(minted);
    await shakeMany(node, 0, 40);
    await node.stop();
    const path = segmentPath(minted.epochDir.node(0), 0);
    const good = readFileSync(path);
    appendFileSync(path, "half a frame");
    node = await serve(minted);
    await node.stop();
    const bad = Buffer.from(good);
    bad[400] = (bad[400] ?? 0) ^ 1;
    writeFileSync(path, bad);
    await expect(serve(minted)).rejects.toMatchObject({
      code: "corrupt_journal",
      message: expect.stringContaining(path),
    });
  });
});

describe("what a node refuses to serve", () => {
  function flip(path: string, at: number): void {
    const bytes = readFileSync(path);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
  }

  it.each([
    ["a flipped bit in a token", 5000],
    ["a flipped bit in the lane table", 26],
    ["a flipped bit in the hash table", 60],
    ["a flipped bit in the magic", 3],
  ])("%s", async (_, at) => {
    flip(minted.epochDir.seed(0), at);
    await expect(serve(minted)).rejects.toMatchObject({ code: "invalid_seed_file" });
  });

  it("another shard's file, a cut file, a manifest that was edited, and a signature of somebody else", async () => {
    const seed = minted.epochDir.seed(0);
    const good = readFileSync(seed);
    rmSync(seed);
    copyFileSync(minted.epochDir.seed(1), seed);
    await expect(serve(minted)).rejects.toMatchObject({ code: "invalid_seed_file" });
    rmSync(seed);
    writeFileSync(seed, good.subarray(0, -1));
    await expect(serve(minted)).rejects.toMatchObject({ code: "invalid_seed_file" });
    writeFileSync(seed, good);
    const text = readFileSync(minted.epochDir.manifest, "utf8");
    chmodSync(minted.epochDir.manifest, 0o644);
    writeFileSync(minted.epochDir.manifest, text.replace('"perUser":3', '"perUser":9'));
    await expect(serve(minted)).rejects.toMatchObject({ code: "invalid_signature" });
    writeFileSync(minted.epochDir.manifest, text);
    const other = await mint();
    const signature = minted.epochDir.signature("operator");
    rmSync(signature);
    await expect(serve(minted)).rejects.toMatchObject({ code: "missing_signature" });
    copyFileSync(other.epochDir.signature("operator"), signature);
    await expect(serve(minted)).rejects.toMatchObject({ code: "invalid_signature" });
    other.remove();
  });

  it("the key file of another shard, of another mint, and one with the right names and a wrong key", async () => {
    const path = minted.epochDir.nodeKey(0);
    const own = readFileSync(path, "utf8");
    const put = (text: string) => {
      rmSync(path, { force: true });
      writeFileSync(path, text, { mode: 0o400 });
    };
    put(readFileSync(minted.epochDir.nodeKey(1), "utf8"));
    await expect(serve(minted)).rejects.toMatchObject({ code: "key_mismatch" });
    const other = await mint();
    put(readFileSync(other.epochDir.nodeKey(0), "utf8"));
    await expect(serve(minted)).rejects.toMatchObject({ code: "key_mismatch" });
    other.remove();
    const file = parseKeyFile("node", own, path);
    put(formatKeyFile<"node">({ ...file, shards: [{ shard: 0, key: keyText(Buffer.alloc(32, 7)) }] }));
    await expect(serve(minted)).rejects.toMatchObject({ code: "key_mismatch" });
    put(own);
    node = await serve(minted);
  });

  it("a live campaign without the approver's signature, and --open-now on a live one", async () => {
    const dir = minted.roots.keysDir;
    const operator = await newKey({ role: "operator", out: join(dir, "op.key") });
    const approver = await newKey({ role: "approver", out: join(dir, "ap.key") });
    const keys = { operator: operator.publicKey, approver: approver.publicKey };
    const live = await mint({ campaign: "live-gala", mode: "live", keys }, join(dir, "op.key"));
    const closed = { openNow: false };
    await expect(serve(live, closed)).rejects.toMatchObject({ code: "missing_signature" });
    await expect(
      approve({ roots: live.roots, campaign: "live-gala", keyFile: join(dir, "op.key") }),
    ).rejects.toThrow();
    await approve({ roots: live.roots, campaign: "live-gala", keyFile: join(dir, "ap.key") });
    await expect(serve(live)).rejects.toMatchObject({ code: "usage" });
    const served = await serve(live, closed);
    expect((await served.shake({ user: "u", device: "d" })).body).toEqual({
      outcome: "countdown",
      startsAt: null,
    });
    await served.stop();
    live.remove();
  });
});
