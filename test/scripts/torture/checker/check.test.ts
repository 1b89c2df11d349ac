import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { encodeBatch } from "../../../../core/format/claim-batch.ts";
import { keyBytes, parseKeyFile } from "../../../../core/format/keyfile.ts";
import { shardKey, shardKeys } from "../../../../core/format/keyring.ts";
import { campaignTag, decodeToken } from "../../../../core/format/token.ts";
import { reconcile } from "../../../../scripts/reconcile/reconcile.ts";
import type { Account } from "../../../../scripts/torture/checker/check.ts";
import { disagreements } from "../../../../scripts/torture/verdict.ts";
import { CAMPAIGN, type Line, type Played, play, type World } from "./world.ts";

/** Worlds in which something is wrong, planted as data: the checker must name it. */
let played: Played;
let world: World;
beforeAll(async () => {
  played = await play();
});
afterAll(() => played.remove());
beforeEach(() => {
  world = played.copy();
});
afterEach(() => world.remove());

function line(index: number): Line {
  const found = world.seen[index];
  if (found === undefined) throw new Error("no such line");
  return found;
}

/** Lines of ann: 0 shake, 1 open; of bob: 2, 3; of cat: 4, 5. */
function change(index: number, answer: Record<string, unknown>): void {
  line(index).answer = { ...line(index).answer, ...answer };
}

function counts({ lost, duplicated, unexpected }: Account) {
  return { lost, duplicated, unexpected };
}

const NONE = { lost: 0, duplicated: 0, unexpected: 0 };

function books() {
  return reconcile({ roots: world.roots, campaign: CAMPAIGN, audit: false });
}

/** A batch as a node would have left it in the queue. */
function batchOf(index: number): Buffer {
  const { settlementKey } = world.epochDir;
  const file = parseKeyFile("settlement", readFileSync(settlementKey, "utf8"), "settlement.key");
  const wire = shardKeys(shardKey(keyBytes(file.tokenRoot), 0)).wire;
  const token = decodeToken(String(line(index).token));
  if (token === undefined) throw new Error("a token");
  const nobody = new Uint8Array(16);
  const range = { campaignTag: campaignTag(CAMPAIGN), epoch: 1, shard: 0, from: 0, to: 1 };
  const claims = [{ token, user: line(index).user, device: "phone", atMs: 1 }];
  return encodeBatch(wire, { ...range, journalId: nobody, forLedger: nobody, claims });
}

describe("an honest show", () => {
  it("is counted, and reconcile says the same", async () => {
    const account = await world.check();
    expect(account.violations).toEqual([]);
    expect(counts(account)).toEqual(NONE);
    expect(account).toMatchObject({ attempted: 3, acknowledged: 3, credited: 3, recovered: 0, waiting: 0 });
    expect(account.cents.acknowledged).toBe(account.cents.credited);
    expect(account.cents.credited + account.cents.escrow).toBe(12_000);
    expect(account.states.burned.packets).toBeGreaterThan(0);
    expect(disagreements(account, await books())).toEqual([]);
  });

  it("an open without an answer is recovered; repeated answers change nothing", async () => {
    world.seen.push({ ...line(0) }, { ...line(3) });
    line(1).status = null;
    line(1).answer = undefined;
    const account = await world.check();
    expect(account.violations).toEqual([]);
    expect(account).toMatchObject({ attempted: 3, acknowledged: 2, credited: 3, recovered: 1 });
  });
});

describe("lost", () => {
  const forget = "DELETE FROM credit WHERE user = 'bob'; DELETE FROM posting WHERE account = 4;";

  it("an acknowledged open that is not credited", async () => {
    world.sql(forget);
    const account = await world.check();
    expect(account.lost).toBe(1);
    expect(account.violations).toContainEqual(
      expect.stringMatching(/^lost: packet 1-0-\d+ was acknowledged/),
    );
    expect(disagreements(account, await books())).not.toEqual([]);
  });

  it("but not while its claim waits in the queue, in a batch that is authentic", async () => {
    world.sql(forget);
    const batch = batchOf(3);
    expect(await world.check({ queued: [batch] })).toMatchObject({ lost: 0, waiting: 1, foreignJobs: 0 });
    batch[batch.length - 1] = (batch.at(-1) ?? 0) ^ 1;
    expect(await world.check({ queued: [batch] })).toMatchObject({ lost: 1, waiting: 0, foreignJobs: 1 });
  });

  it("but not if it was refused because its user had its share", async () => {
    world.sql(`${forget}
      INSERT INTO rejection SELECT 1, 0, 0, zeroblob(32), 'over-quota', 'user', 1, 1, 'bob', 'phone', 1;`);
    const serial = Number(String(line(3).answer?.["packet"]).split("-")[2]);
    world.sql(`UPDATE rejection SET serial = ${serial}`);
    const refused = await world.check();
    expect(refused.lost).toBe(1);
    expect(refused.violations).toContainEqual(
      expect.stringMatching(/refused as over quota, which it is not/),
    );
  });
});

describe("duplicated", () => {
  it("one packet in answers to two users", async () => {
    world.seen.push({ ...line(0), user: "eve", key: "eve-1" });
    const account = await world.check();
    expect(account.violations).toEqual([
      expect.stringMatching(/^duplicated: packet .* given to eve as well/),
    ]);
  });

  it("one packet for two shakes of its user", async () => {
    world.seen.push({ ...line(0), key: "ann-2" });
    const account = await world.check();
    expect(account.violations).toEqual([expect.stringMatching(/^duplicated: .* to ann for two shakes/)]);
  });

  it("two credits of a packet, where the ledger lost its constraints", async () => {
    world.sql(`
      CREATE TABLE loose AS SELECT * FROM credit;
      INSERT INTO loose SELECT * FROM credit WHERE user = 'ann';
      DROP TABLE credit; ALTER TABLE loose RENAME TO credit;`);
    const account = await world.check();
    expect(account.duplicated).toBe(1);
    expect(account.violations).toContainEqual(
      expect.stringMatching(/^duplicated: .* credited again, to ann/),
    );
  });

  it("a user who is paid twice for one packet", async () => {
    world.sql(`
      CREATE TABLE loose AS SELECT * FROM posting;
      INSERT INTO loose SELECT * FROM posting WHERE account = 3 AND side = 'credit';
      DROP TABLE posting; ALTER TABLE loose RENAME TO posting;`);
    const account = await world.check();
    expect(account.duplicated).toBe(1);
    expect(account.violations).toContainEqual(expect.stringMatching(/was paid 2 times/));
  });
});

describe("unexpected", () => {
  async function named(what: RegExp, more = {}): Promise<void> {
    const account = await world.check(more);
    expect(account.unexpected).toBeGreaterThan(0);
    expect(account.violations).toContainEqual(expect.stringMatching(what));
  }

  it("a credit that no client has claimed", async () => {
    world.seen.splice(1, 1);
    await named(/^unexpected: credit of 1-0-\d+: no client has opened it/);
  });

  it("a credit to somebody else", async () => {
    world.sql("UPDATE credit SET user = 'eve' WHERE user = 'ann'");
    await named(/paid to eve, who was not given it/);
  });

  it("a credit of a packet that does not exist", async () => {
    world.sql("INSERT INTO credit SELECT epoch, shard, 4000, cents, ad, user, device, 1 FROM credit LIMIT 1");
    await named(/credit of 1-0-4000: no such packet/);
  });

  it("cents that differ between token and ledger row", async () => {
    world.sql("UPDATE credit SET cents = cents + 1 WHERE user = 'ann'");
    await named(/credit of 1-0-\d+: \d+ cents of ad/);
  });

  it("cents that differ between token and answer", async () => {
    change(1, { cents: 1_000_000 });
    await named(/showed 1000000 cents/);
  });

  it("a posting that is missing, and balances that do not follow", async () => {
    world.sql(
      "DELETE FROM posting WHERE account = 3; UPDATE account SET balance_cents = 0 WHERE account = 3",
    );
    await named(/credits are not debits/);
    await named(/wallet: \d+ cents, not \d+/);
  });

  it("a keyed shake that is answered otherwise the second time", async () => {
    world.seen.push({ ...line(0), answer: line(2).answer });
    await named(/a repeated shake gives 1-0-\d+ and gave/);
  });

  it("a keyed shake that had a packet and has none the second time", async () => {
    world.seen.push({ ...line(0), answer: { outcome: "greeting" } });
    await named(/a repeated shake lost packet/);
  });

  it("but not one that was turned away before its twin won, and is heard later", async () => {
    world.seen.push({ ...line(0), askedAfter: 0, answer: { outcome: "greeting" } });
    expect((await world.check()).violations).toEqual([]);
  });

  it("a packet that comes again with another pass", async () => {
    world.seen.push({ ...line(0), answer: { ...line(0).answer, pass: "other" } });
    await named(/comes again with another pass/);
  });

  it("an ad in an answer that is not the packet's", async () => {
    change(0, { ad: 9 });
    await named(/with ad 9/);
  });

  it("a token that the mint did not seal", async () => {
    const token = String(line(0).answer?.["token"]);
    change(0, { token: `${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}` });
    await named(/a token that is not of this mint/);
  });

  it("an honest client that is refused", async () => {
    line(1).status = 403;
    line(1).answer = { code: "not_yours" };
    await named(/^unexpected: open of ann: refused with 403 not_yours/);
  });

  it("a user who was paid for more than the quota", async () => {
    world.sql("UPDATE credit SET user = 'ann', ad = 1");
    await named(/user ann was paid for 3 packets of ad 1, more than the quota/);
  });

  it("a hand-out outside of the rounds of its ad", async () => {
    const round = { opensAt: "2027-02-06T13:00:00Z", closesAt: "2027-02-06T15:00:00Z" };
    expect((await world.check({ rounds: [{ ...round, ads: [1, 2] }] })).violations).toEqual([]);
    await named(/handed out outside of its rounds/, { rounds: [{ ...round, ads: [] }] });
    const over = { opensAt: "2027-02-06T12:00:00Z", closesAt: "2027-02-06T13:00:00Z", ads: [1, 2] };
    await named(/handed out outside of its rounds/, { rounds: [over] });
  });

  it("burned packets without a kill", async () => {
    await named(/burned at 1 starts, but killed 0 times/, { nodeKills: () => 0 });
  });

  it("a journal that is gone, though clients were answered", async () => {
    writeFileSync(join(world.epochDir.node(0), "segment-00000000.log"), "");
    await named(/does not continue the journal/);
    await named(/acknowledged, and in no journal/);
  });

  it("a journal that is damaged in front of something synced; a torn tail is none", async () => {
    const path = join(world.epochDir.node(0), "segment-00000000.log");
    appendFileSync(path, "torn");
    expect((await world.check()).violations).toEqual([]);
    const bytes = readFileSync(path);
    bytes[200] = (bytes[200] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    await named(/is damaged at byte/);
  });

  it("a packet that the journal hands out again: from its old place, and to somebody else", async () => {
    await world.append((issue) => ({ ...issue, user: "eve" }));
    await named(/lane \d goes on at \d+, not at \d+/);
    await named(/^duplicated: the journal hands packet 1-0-\d+ out again, to eve/);
  });

  it("a packet that is handed out without a lease, and one where another lies", async () => {
    await world.append((issue) => ({ ...issue, position: issue.position + 1 }));
    await named(/is handed out without a lease/);
    await named(/packet \d+ is handed out where 1-0-\d+ lies/);
  });

  it("a claim of somebody else, and a second one", async () => {
    const token = decodeToken(String(line(5).token));
    if (token === undefined) throw new Error("a token");
    await world.append(({ serial }) => ({
      type: "claim",
      serial,
      token,
      user: "eve",
      device: "phone",
      atMs: 1,
    }));
    await named(/packet 1-0-\d+ is claimed by another: eve/);
    await named(/packet 1-0-\d+ is claimed twice/);
  });

  it("more burned at one start than one lease, and a packet that was handed out", async () => {
    await world.append(({ lane }) => ({ type: "burn", lane, from: 0, to: 300 }));
    await named(/one start burned 300 packets/);
    await named(/is burned, but was not in stock/);
  });

  it("seeds that do not open", async () => {
    const { epochDir } = world;
    const bytes = readFileSync(epochDir.seed(0));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    const seed = join(epochDir.dataDir, "changed.seed");
    writeFileSync(seed, bytes);
    const files = { manifest: epochDir.manifest, settlementKey: epochDir.settlementKey };
    const more = { ledger: epochDir.of.ledger, seed: () => seed, journal: (s: number) => epochDir.node(s) };
    await named(/seed 0, lane 1, position \d+ does not open/, { files: { ...files, ...more } });
  });
});
