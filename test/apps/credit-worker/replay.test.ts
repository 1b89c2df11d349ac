/** A lost ledger comes back from the journals with the same balances; a whole one is not changed by it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { replayJournals } from "../../../apps/credit-worker/replay.ts";
import type { Claim } from "../../../core/format/claim.ts";
import type { Frame } from "../../../core/format/frame.ts";
import { formatKeyFile } from "../../../core/format/keyfile.ts";
import { CampaignDir } from "../../../core/store/campaign-dir.ts";
import { segmentPath } from "../../../core/store/journal-reader.ts";
import {
  contents,
  faults,
  reading,
  refused,
  tamper,
  temporaryDirectory,
} from "../../core/store/ledger-world.ts";
import { claimFrame, writeJournal } from "./journal.ts";
import { Mint, rootsIn } from "./mint.ts";
import { acknowledged, listeningLog, newCrediting } from "./stage.ts";

const CHILD = join(import.meta.dirname, "replay-child.mjs");
const generous = { perUser: 10_000, perAd: 10_000 };

async function show(mint: Mint) {
  const dir = temporaryDirectory();
  const roots = rootsIn(dir);
  await mint.publish(roots);
  const { campaign } = mint.manifest;
  const path = new CampaignDir(roots, campaign).ledger;
  const replay = (...dirs: string[]) => replayJournals({ roots, campaign, dirs }, listeningLog());
  return { dir, roots, campaign, path, replay };
}

describe("credit --replay", () => {
  it("into an empty ledger gives the books that live crediting gave, refusals included", async () => {
    const mint = new Mint({ shards: 2, lanePackets: 700, quota: { perUser: 200, perAd: 150 } });
    const { dir, path, replay } = await show(mint);
    const shards = [0, 1].map((shard) => rivalClaims(mint, shard));
    const live = await newCrediting(mint);
    for (const [shard, claims] of shards.entries())
      for (let at = 0; at < claims.length; at += 300)
        await acknowledged(live.crediting, mint, shard, mint.batch(shard, claims.slice(at, at + 300)));
    const dirs = shards.map((claims, shard) => writeJournal(dir, mint, shard, withOtherFrames(claims)));

    const tally = await replay(...dirs);

    expect(contents(path)).toEqual(contents(live.path));
    expect(reading(path, ({ pin }) => pin.ledgerId)).not.toEqual(live.ledger.pin.ledgerId);
    const { created, conflict, rejected, exists } = live.crediting.stats;
    expect(tally).toEqual({ created, conflict, rejected, exists });
    expect([created, conflict, rejected].every((count) => count > 0)).toBe(true);
    expect(faults(path)).toEqual([]);
  });

  it("again, and into a whole ledger, finds everything and changes nothing", async () => {
    const mint = new Mint({ lanePackets: 700, quota: { perUser: 200, perAd: 150 } });
    const { dir, path, replay } = await show(mint);
    const claims = rivalClaims(mint, 0);
    const journal = writeJournal(dir, mint, 0, claims.map(claimFrame));
    await replay(journal);
    const before = contents(path);
    expect(await replay(journal, journal)).toEqual({
      created: 0,
      exists: claims.length * 2,
      conflict: 0,
      rejected: 0,
    });
    expect(contents(path)).toEqual(before);
  });

  it("of a live journal takes what is whole; its torn tail is not corruption", async () => {
    const mint = new Mint();
    const { dir, replay } = await show(mint);
    const claims = [1, 2, 3].map((serial) => mint.claim(0, serial, `u${serial}`));
    const journal = writeJournal(dir, mint, 0, claims.map(claimFrame));
    const segment = segmentPath(journal, 0);
    truncateSync(segment, statSync(segment).size - 3);
    expect(await replay(journal)).toMatchObject({ created: 2 });
  });

  it("of a journal without a claim pins its shard", async () => {
    const mint = new Mint();
    const { dir, replay } = await show(mint);
    await replay(writeJournal(dir, mint, 0, []));
    const other = writeJournal(
      join(dir, "other"),
      mint,
      0,
      [claimFrame(mint.claim(0, 1, "ann"))],
      Buffer.alloc(16, 9),
    );
    const error = await refused(replay(other));
    expect([error.code, error.message]).toEqual([
      "invalid_journal",
      expect.stringMatching(/shard 0 from another journal/),
    ]);
  });

  it("refuses a journal of another campaign or epoch, and a directory without one", async () => {
    const mint = new Mint();
    const { dir, replay } = await show(mint);
    const strange = writeJournal(join(dir, "s"), new Mint({ epoch: 2 }), 0, []);
    const error = await refused(replay(strange));
    expect([error.code, error.message]).toEqual([
      "invalid_journal",
      expect.stringMatching(/epoch 2 of another/),
    ]);
    expect((await refused(replay(join(dir, "nothing")))).code).toBe("missing_file");
  });

  it("killed in the middle, over and over, then let through: the same books", async () => {
    const mint = new Mint({ lanePackets: 2500, quota: generous });
    const { dir, roots, campaign, path, replay } = await show(mint);
    const claims = Array.from({ length: 5000 }, (_, serial) =>
      mint.claim(0, (serial * 7919) % 5000, `u${serial % 997}`),
    );
    const journal = writeJournal(dir, mint, 0, claims.map(claimFrame));
    await replay(journal);
    const expected = contents(path);
    for (const name of [path, `${path}-wal`, `${path}-shm`]) rmSync(name, { force: true });

    const options = JSON.stringify({ roots, campaign, dirs: [journal] });
    const credited = () => (existsSync(path) ? reading(path, (ledger) => ledger.totals().packets) : 0);
    let cutShort = 0;
    for (const enough of [0, 1, 2000]) {
      const child = spawn(process.execPath, [CHILD, options], { stdio: ["ignore", "pipe", "inherit"] });
      const over = once(child, "exit");
      await once(child.stdout, "data");
      while (credited() < enough) await sleep(1);
      child.kill("SIGKILL");
      await over;
      // The first kill may come before there is a ledger; if there is one, it is whole.
      if (!existsSync(path)) continue;
      expect(faults(path)).toEqual([]);
      expect(credited() % 1000).toBe(0);
      if (credited() < claims.length) cutShort++;
    }
    expect(cutShort).toBeGreaterThan(0);
    await replay(journal);
    expect(contents(path)).toEqual(expected);
  });
});

describe("the books are refused before the first claim", () => {
  const mint = new Mint();
  it.each([
    [
      "another campaign's settlement key",
      { campaign: "other" },
      "key_mismatch",
      /is the settlement key of other/,
    ],
    [
      "another epoch's settlement key",
      { epoch: 2 },
      "key_mismatch",
      /epoch 2, not of gala-test \(test\) epoch 1/,
    ],
    ["another mode's settlement key", { mode: "live" as const }, "key_mismatch", /gala-test \(live\)/],
    ["another mint's settlement key", { lanePackets: 51 }, "key_mismatch", /another mint of gala-test/],
  ])("%s", async (_, options, code, why) => {
    const { roots, campaign, replay, path } = await show(mint);
    const { chmodSync, writeFileSync } = await import("node:fs");
    const key = new CampaignDir(roots, campaign).epoch(1).settlementKey;
    chmodSync(key, 0o600);
    writeFileSync(key, formatKeyFile(new Mint(options).settlement));
    const error = await refused(replay());
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(why)]);
    expect(existsSync(path)).toBe(false);
  });

  it("a manifest that the settlement key's operator did not sign", async () => {
    const { roots, campaign, replay } = await show(mint);
    const { chmodSync, writeFileSync } = await import("node:fs");
    const signature = new CampaignDir(roots, campaign).epoch(1).signature("operator");
    chmodSync(signature, 0o600);
    writeFileSync(signature, "A".repeat(86));
    expect((await refused(replay())).code).toBe("invalid_signature");
    rmSync(signature);
    expect((await refused(replay())).code).toBe("missing_signature");
  });

  it("no settlement key, no epoch, a ledger of another program, a ledger that is a URL", async () => {
    const { roots, campaign, replay, path } = await show(mint);
    const options = { roots, campaign, dirs: [] };
    const run = (more: object) => refused(replayJournals({ ...options, ...more }, listeningLog()));
    expect((await run({ ledgerUrl: "postgres://u:secret@h/db" })).code).toBe("invalid_ledger_url");
    expect((await run({ epoch: 9 })).code).toBe("missing_file");
    await replay();
    tamper(`${path}.other`, "CREATE TABLE cookies (x)");
    expect((await run({ ledgerUrl: `${path}.other` })).code).toBe("ledger_mismatch");
    rmSync(new CampaignDir(roots, campaign).epoch(1).settlementKey);
    expect((await run({})).code).toBe("missing_key_file");
  });
});

/** 1400 packets for 9 users, every tenth claimed again by a rival: credits, double-claims and over-quotas. */
function rivalClaims(mint: Mint, shard: number): Claim[] {
  return Array.from({ length: 1400 }, (_, serial) => serial).flatMap((serial) => {
    const claims = [mint.claim(shard, serial, `u${serial % 9}`)];
    if (serial % 10 === 0) claims.push(mint.claim(shard, serial, "rival"));
    return claims;
  });
}

function withOtherFrames(claims: readonly Claim[]): Frame[] {
  return claims.flatMap((claim, i): Frame[] =>
    i % 100 === 0 ? [{ type: "lease", lane: 0, upTo: i + 100 }, claimFrame(claim)] : [claimFrame(claim)],
  );
}
