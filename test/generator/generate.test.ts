import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { CampaignDir, type Roots } from "../../core/store/campaign-dir.ts";
import { readKeyFile } from "../../core/store/keystore.ts";
import { takeLock } from "../../core/store/lock.ts";
import { checkSignatures, readManifest } from "../../core/store/manifest-file.ts";
import { approve } from "../../generator/approve.ts";
import { generate } from "../../generator/generate.ts";
import { newKey } from "../../generator/keys.ts";
import { formatReport, type GenerateReport } from "../../generator/summary.ts";
import golden from "../vectors/golden-mint.json" with { type: "json" };
import { PLAIN } from "./campaigns.ts";
import {
  everyByte,
  filesBelow,
  freshRoots,
  giveMasterKey,
  giveOperatorKey,
  NOW_MS,
  openEpoch,
  run,
} from "./mints.ts";

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

describe("a test campaign", () => {
  const roots = freshRoots();
  let report: GenerateReport;
  beforeAll(async () => {
    report = await run(roots);
  });

  test("has every file of the contract and nothing else, keys 0400, the rest read-only", () => {
    const modes = Object.entries(everyByte(roots)).map(([name, value]) => `${value.slice(0, 3)} ${name}`);
    expect(modes.sort()).toEqual(
      [
        "444 seedsDir/gala-2027/e1/manifest.json",
        "444 seedsDir/gala-2027/e1/manifest.operator.sig",
        "444 seedsDir/gala-2027/e1/plan.json",
        "444 seedsDir/gala-2027/e1/shard-0000.seed",
        "444 seedsDir/gala-2027/e1/shard-0001.seed",
        "400 keysDir/gala-2027/e1/node-0000.key",
        "400 keysDir/gala-2027/e1/node-0001.key",
        "400 keysDir/gala-2027/e1/settlement.key",
        "400 keysDir/gala-2027/master.key",
        "400 keysDir/gala-2027/operator.key",
      ].sort(),
    );
    expect(report.files.map(({ path }) => path.slice(path.indexOf("gala-2027"))).sort()).toEqual(
      modes
        .map((line) => line.slice(line.indexOf("gala-2027")))
        .filter((name) => /sig|seed|manifest|e1.*key/.test(name))
        .sort(),
    );
  });

  test("opens packet by packet on the reference implementation: sum, count, serials, histogram", () => {
    const { manifest, packets } = openEpoch(roots);
    expect(packets).toHaveLength(3000);
    expect(sum(packets.map(({ cents }) => cents))).toBe(8_888_800);
    for (const { shard, packets: count } of manifest.shards) {
      const serials = packets.filter((packet) => packet.shard === shard).map(({ serial }) => serial);
      expect([...serials].sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
      // Dealt over the whole shard: the first lane holds serials from everywhere.
      expect(Math.max(...serials.slice(0, 100)) - Math.min(...serials.slice(0, 100))).toBeGreaterThan(
        count / 2,
      );
    }
    for (const bar of manifest.histogram) {
      const inside = packets.filter(({ cents }) => cents >= bar.fromCents && cents <= bar.toCents);
      expect([inside.length, sum(inside.map(({ cents }) => cents))]).toEqual([bar.packets, bar.cents]);
    }
    for (const ad of manifest.ads) {
      const own = packets.filter((packet) => packet.ad === ad.id);
      expect([own.length, sum(own.map(({ cents }) => cents))]).toEqual([ad.packets, ad.cents]);
    }
  });

  test("is signed by the operator that its key files name, and its keys belong together", async () => {
    const epoch = new CampaignDir(roots, "gala-2027").epoch(1);
    const file = await readManifest(epoch);
    const node = await readKeyFile("node", epoch.nodeKey(1));
    const settlement = await readKeyFile("settlement", epoch.settlementKey);
    await checkSignatures(epoch, file, node.publicKeys);
    expect(settlement.publicKeys).toEqual(node.publicKeys);
    expect(node.shards.map(({ shard }) => shard)).toEqual([1]);
    expect(Buffer.from(node.planHash, "base64url").toString("hex")).toBe(file.manifest.planHash);
  });

  test("reports what it did, as data and in words", () => {
    expect(report.checks.map(({ name, ok }) => [name, ok])).toEqual([
      ["budget exact", true],
      ["count exact", true],
      ["bounds held", true],
      ["no serial twice", true],
    ]);
    expect(report).toMatchObject({ packets: 3000, budgetCents: 8_888_800, epoch: 1, dryRun: false });
    expect(report.next).toBe("hongbao up gala-2027");
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
    const text = formatReport(report);
    for (const words of ["gala-2027 (TEST), epoch 1", "88,888.00 in all", "1 Sponsor A", "next: hongbao up"])
      expect(text).toContain(words);
  });

  test("again: another epoch, every earlier byte untouched, other amounts", async () => {
    const before = everyByte(roots);
    const again = await run(roots);
    expect(again.epoch).toBe(2);
    expect(everyByte(roots)).toMatchObject(before);
    expect(openEpoch(roots, "gala-2027", 2).packets).not.toEqual(openEpoch(roots).packets);
  });

  test("resume on a complete epoch changes nothing and says so", async () => {
    const before = everyByte(roots);
    const resumed = await run(roots, {}, { resume: true });
    expect(resumed).toMatchObject({ alreadyComplete: true, epoch: 2 });
    expect(formatReport(resumed)).toContain("already complete, nothing to resume");
    expect(everyByte(roots)).toEqual(before);
    await expect(run(roots, { packets: 2999 }, { resume: true })).rejects.toThrow(
      /epoch 2 was minted from another/,
    );
  });
});

test("threads and lanes do not change a byte", async () => {
  const [one, four] = [freshRoots(), freshRoots()];
  for (const [roots, workers] of [
    [one, 1],
    [four, 4],
  ] as const) {
    await giveMasterKey(roots);
    await giveOperatorKey(join(roots.keysDir, "gala-2027", "operator.key"));
    await run(roots, { shards: 3 }, { workers });
  }
  expect(everyByte(one)).toEqual(everyByte(four));
});

test("golden mint: the algorithm cannot change silently", async () => {
  const roots = freshRoots();
  await giveMasterKey(roots);
  await giveOperatorKey(join(roots.keysDir, "gala-2027", "operator.key"));
  const report = await run(roots, golden.campaign);
  const seeds = join(roots.seedsDir, "gala-2027", "e1");
  const sha256 = Object.fromEntries(
    Object.keys(golden.sha256).map((name) => [
      name,
      createHash("sha256")
        .update(readFileSync(join(seeds, name)))
        .digest("hex"),
    ]),
  );
  expect({ planHash: report.planHash, sha256 }).toEqual({ planHash: golden.planHash, sha256: golden.sha256 });
});

describe("a dry run", () => {
  test("writes nothing at all and checks the same", async () => {
    const roots = freshRoots();
    const report = await run(roots, {}, { dryRun: true });
    expect(filesBelow(roots.seedsDir).concat(filesBelow(roots.keysDir))).toEqual([]);
    expect(report.checks.every(({ ok }) => ok)).toBe(true);
    expect(report.files).toHaveLength(2);
    expect(sum(report.histogram.map(({ cents }) => cents))).toBe(8_888_800);
  });

  test("under an existing master key it shows the histogram that the mint will have", async () => {
    const roots = freshRoots();
    await giveMasterKey(roots);
    const dry = await run(roots, {}, { dryRun: true });
    const wet = await run(roots);
    expect(dry.histogram).toEqual(wet.histogram);
    expect(dry.files).toEqual(wet.files.filter(({ path }) => path.endsWith(".seed")));
  });

  test("a live campaign can be tried without keys", async () => {
    const keys = { operator: "A".repeat(43), approver: `B${"A".repeat(42)}` };
    const report = await run(freshRoots(), { mode: "live", keys }, { dryRun: true });
    expect(formatReport(report)).toContain("(LIVE)");
  });
});

describe("refused before anything is written", () => {
  const refused = async (roots: Roots, changes: Record<string, unknown>, options = {}) => {
    const before = everyByte(roots);
    const error = await run(roots, changes, options).then(
      () => new Error("not refused"),
      (reason) => reason,
    );
    expect(everyByte(roots)).toEqual(before);
    return `${error.code}: ${error.message}`;
  };

  test("a campaign that has expired", async () => {
    expect(await refused(freshRoots(), { expiresAt: "2026-11-30T23:59:59Z" })).toMatch(
      /^invalid_campaign: expiresAt 2026-11-30T23:59:59Z is in the past/,
    );
  });

  test("impossible numbers", async () => {
    expect(await refused(freshRoots(), { budgetCents: 2999 })).toMatch(/raise budgetCents to 3000/);
  });

  test("a master key of another campaign or mode", async () => {
    const roots = freshRoots();
    await giveMasterKey(roots);
    const keys = join(roots.keysDir, "other");
    mkdirSync(keys);
    copyFileSync(join(roots.keysDir, "gala-2027", "master.key"), join(keys, "master.key"));
    expect(await refused(roots, { campaign: "other" })).toMatch(
      /^key_mismatch: .* is the master key of gala-2027/,
    );
    await newKey({ role: "operator", out: join(roots.keysDir, "op") });
    const { publicKey } = await readKeyFile("signing", join(roots.keysDir, "op"));
    const live = { mode: "live", keys: { operator: publicKey, approver: "A".repeat(43) } };
    const options = { operatorKeyFile: join(roots.keysDir, "op") };
    expect(await refused(roots, live, options)).toMatch(
      /^key_mismatch: .* \(test\), not of gala-2027 \(live\)/,
    );
  });

  test("zero workers", async () => {
    expect(await refused(freshRoots(), {}, { workers: 0 })).toMatch(/^usage: /);
  });

  test("a second generator on the same campaign", async () => {
    const roots = freshRoots();
    const lock = await takeLock(join(roots.seedsDir, "gala-2027", "mint.lock"), "the test");
    expect(await refused(roots, {})).toMatch(/^locked: the mint of campaign gala-2027 is in use/);
    lock.release();
    const [a, b] = await Promise.allSettled([run(roots), run(roots)]);
    expect([a.status, b.status].sort()).toEqual(["fulfilled", "rejected"]);
  });
});

describe("nothing is ever overwritten", () => {
  test.each(["manifest.json", "shard-0001.seed", "plan.json", "manifest.operator.sig"])(
    "a foreign %s in the next epoch's place",
    async (name) => {
      const roots = freshRoots();
      const place = join(roots.seedsDir, "gala-2027", "e1");
      mkdirSync(place, { recursive: true });
      writeFileSync(join(place, name), "somebody's\n");
      await expect(run(roots, {}, { resume: true })).rejects.toThrow();
      expect(readFileSync(join(place, name), "utf8")).toBe("somebody's\n");
    },
  );

  test("keys of lost seeds: the same plan is minted again beside them, another plan takes another epoch", async () => {
    const roots = freshRoots();
    await run(roots);
    const before = everyByte(roots);
    rmSync(roots.seedsDir, { recursive: true });
    expect((await run(roots, { packets: 2500 })).epoch).toBe(2);
    rmSync(roots.seedsDir, { recursive: true });
    expect((await run(roots)).epoch).toBe(1);
    expect(everyByte(roots)).toMatchObject(before);
  });
});

describe("resume", () => {
  test("without anything to resume begins; with another campaign file it is refused", async () => {
    const roots = freshRoots();
    const place = join(roots.seedsDir, "gala-2027", "e1");
    mkdirSync(place, { recursive: true });
    expect((await run(roots, {}, { resume: true })).epoch).toBe(1);
    rmSync(join(place, "manifest.json"));
    await expect(run(roots, { packets: 2999 }, { resume: true })).rejects.toThrow(
      /^epoch 1 was started from another campaign file \(plan [0-9a-f]{8}, this one is [0-9a-f]{8}\)/,
    );
    const next = await run(roots, { packets: 2999 });
    expect(next.epoch).toBe(2);
    expect(next.warnings.join()).toMatch(/epoch 1 was started and never finished/);
  });

  test("with another operator key is refused, and finishes with the right one", async () => {
    const roots = freshRoots();
    await giveMasterKey(roots);
    await newKey({ role: "operator", out: join(roots.keysDir, "a") });
    await newKey({ role: "operator", out: join(roots.keysDir, "b") });
    await run(roots, {}, { operatorKeyFile: join(roots.keysDir, "a") });
    const before = everyByte(roots);
    rmSync(join(roots.seedsDir, "gala-2027", "e1"), { recursive: true });
    await expect(run(roots, {}, { operatorKeyFile: join(roots.keysDir, "b") })).rejects.toThrow(
      /settlement.key exists and is not what this mint makes/,
    );
    await run(roots, {}, { resume: true, operatorKeyFile: join(roots.keysDir, "a") });
    expect(everyByte(roots)).toEqual(before);
  });
});

describe("a live campaign", () => {
  const roots = freshRoots();
  const operatorKeyFile = join(roots.keysDir, "mine", "operator.key");
  const approverKeyFile = join(roots.keysDir, "theirs", "approver.key");
  let live: Record<string, unknown>;
  beforeAll(async () => {
    const operator = await newKey({ role: "operator", out: operatorKeyFile });
    const approver = await newKey({ role: "approver", out: approverKeyFile });
    live = { mode: "live", keys: { operator: operator.publicKey, approver: approver.publicKey } };
  });

  test("is refused without the operator's key, with a stranger's and with the approver's", async () => {
    await expect(run(roots, live)).rejects.toMatchObject({ code: "missing_key_file" });
    const stranger = join(roots.keysDir, "stranger.key");
    await newKey({ role: "operator", out: stranger });
    await expect(run(roots, live, { operatorKeyFile: stranger })).rejects.toMatchObject({
      code: "key_mismatch",
    });
    await expect(run(roots, live, { operatorKeyFile: approverKeyFile })).rejects.toMatchObject({
      code: "key_mismatch",
    });
    expect(filesBelow(roots.seedsDir)).toEqual([]);
  });

  test("is minted with it, and is nobody's before the approver signs", async () => {
    const report = await run(roots, live, { operatorKeyFile });
    expect(report.next).toBe("hongbao approve gala-2027 --key FILE");
    expect(filesBelow(roots.keysDir)).not.toContain("gala-2027/operator.key");
    const epoch = new CampaignDir(roots, "gala-2027").epoch(1);
    const file = await readManifest(epoch);
    const { publicKeys } = await readKeyFile("settlement", epoch.settlementKey);
    await expect(checkSignatures(epoch, file, publicKeys)).rejects.toMatchObject({
      code: "missing_signature",
    });

    const by = (keyFile: string) => approve({ roots, campaign: "gala-2027", keyFile });
    await expect(by(operatorKeyFile)).rejects.toMatchObject({ code: "key_mismatch" });
    const stranger = join(roots.keysDir, "other-approver.key");
    await newKey({ role: "approver", out: stranger });
    await expect(by(stranger)).rejects.toMatchObject({ code: "key_mismatch" });

    expect(await by(approverKeyFile)).toMatchObject({ epoch: 1, packets: 3000, manifest: file.hash });
    await checkSignatures(epoch, file, publicKeys);
    await expect(by(approverKeyFile)).rejects.toMatchObject({ code: "already_exists" });
  });

  test("the approver does not sign what does not follow from the campaign", async () => {
    const { seedsDir, signature } = new CampaignDir(roots, "gala-2027").epoch(1);
    rmSync(new CampaignDir(roots, "gala-2027").epoch(1).signature("approver"));
    const path = join(seedsDir, "manifest.json");
    const text = readFileSync(path, "utf8");
    const attempt = () => approve({ roots, campaign: "gala-2027", keyFile: approverKeyFile });
    chmodSync(path, 0o644);
    writeFileSync(path, text.replace('"perUser":3', '"perUser":9'));
    await expect(attempt()).rejects.toMatchObject({ code: "invalid_manifest" });
    // A root is not derived; whoever changes one lacks the operator's signature.
    writeFileSync(path, text.replace(/"root":"[0-9a-f]{8}/, '"root":"00000000'));
    await expect(attempt()).rejects.toMatchObject({ code: "invalid_signature" });
    writeFileSync(path, text);
    await attempt();
    expect(signature).toBeDefined();
  });
});

test("a key signs for its own role only, also where a test campaign names no keys", async () => {
  const roots = freshRoots();
  const [operator, approver] = [join(roots.keysDir, "a"), join(roots.keysDir, "b")];
  await newKey({ role: "operator", out: operator });
  await newKey({ role: "approver", out: approver });
  await expect(run(roots, {}, { operatorKeyFile: approver })).rejects.toThrow(/is the key of the approver/);
  await run(roots, {}, { operatorKeyFile: operator });
  const by = (keyFile: string) => approve({ roots, campaign: "gala-2027", keyFile });
  await expect(by(operator)).rejects.toThrow(/is the key of the operator/);
  expect(await by(approver)).toMatchObject({ mode: "test", epoch: 1 });
});

test("a signing key file is made once", async () => {
  const out = join(freshRoots().keysDir, "a", "operator.key");
  const { publicKey, role } = await newKey({ role: "operator", out });
  expect([role, publicKey.length]).toEqual(["operator", 43]);
  await expect(newKey({ role: "operator", out })).rejects.toMatchObject({ code: "already_exists" });
});

test("progress never goes back and ends at all packets", async () => {
  const seen: number[][] = [];
  const progress = { update: (sealed: number, total: number) => seen.push([sealed, total]) };
  for (const dryRun of [true, false]) {
    seen.length = 0;
    const campaignText = JSON.stringify(PLAIN);
    const options = { roots: freshRoots(), campaignText, workers: 2, dryRun, resume: false };
    await generate(options, { nowMs: NOW_MS, progress });
    expect(seen.at(-1)).toEqual([10_000, 10_000]);
    expect([...seen].sort(([a = 0], [b = 0]) => a - b)).toEqual(seen);
  }
});
