import {
  cpSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { formatKeyFile, parseKeyFile } from "../../../core/format/keyfile.ts";
import { segmentPath } from "../../../core/store/journal-reader.ts";
import { LISTED_MAX } from "../../../scripts/reconcile/findings.ts";
import { forgetMint, mintOnce, Stage, type StagePacket } from "./stage.ts";

let stage: Stage;

beforeAll(mintOnce);
afterAll(forgetMint);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.remove());

function sum(packets: readonly StagePacket[]) {
  return { packets: packets.length, cents: packets.reduce((cents, packet) => cents + packet.cents, 0) };
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(stage.unlock(path));
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

describe("reconcile of a show that balances", () => {
  it("accounts for a campaign that nobody has started", async () => {
    const report = await stage.reconcile();
    const budget = { packets: 300, cents: 60_000 };
    expect(report).toMatchObject({ campaign: "gala-test", epoch: 1, mode: "test", balanced: true, budget });
    expect(report.unissued).toEqual(budget);
    expect(report.ledger).toBeNull();
    expect(report.findings).toEqual([]);
  });

  it("puts every packet into its furthest state, exact by shard and by ad", async () => {
    const lane = stage.lane(0, 0);
    const other = stage.lane(1, 1);
    const node = await stage.node(0);
    node.append({ type: "lease", lane: 0, upTo: 64 });
    for (const packet of lane.slice(0, 40)) node.issue(packet);
    for (const packet of lane.slice(0, 30)) node.claim(packet);
    await node.sync();
    const second = await stage.node(1);
    for (const packet of other.slice(0, 5)) second.issue(packet).claim(packet);
    await second.sync();
    await stage.credit(0, 1);
    node.claim(lane[30] as StagePacket).append({ type: "burn", lane: 0, from: 40, to: 64 });
    await node.sync();
    const report = await stage.reconcile();
    expect(report.balanced).toBe(true);
    expect(report.credited).toEqual(sum([...lane.slice(0, 30), ...other.slice(0, 5)]));
    expect(report.opened).toEqual(sum(lane.slice(30, 31)));
    expect(report.issued).toEqual(sum(lane.slice(31, 40)));
    expect(report.burned).toEqual(sum(lane.slice(40, 64)));
    expect(report.refunded).toEqual({ packets: 0, cents: 0 });
    expect(report.byShard.map(({ credited }) => credited)).toEqual([
      sum(lane.slice(0, 30)),
      sum(other.slice(0, 5)),
    ]);
    expect(report.byAd.map(({ ad, credited }) => [ad, credited])).toEqual([
      [1, sum(lane.slice(0, 30))],
      [7, sum(other.slice(0, 5))],
    ]);
    expect(report.counts).toEqual({ "opened-uncredited": 1, "issued-unopened": 9 });
    expect(report.findings[0]).toMatchObject({ class: "opened-uncredited", packet: lane[30]?.id });
    expect(report.ledger).toMatchObject({
      debitCents: 60_000 + report.credited.cents,
      creditCents: 60_000 + report.credited.cents,
    });
  });

  it("calls a packet that was leased and neither handed out nor burned unissued", async () => {
    await (await stage.node(0)).append({ type: "lease", lane: 0, upTo: 50 }).sync();
    const report = await stage.reconcile();
    expect([report.balanced, report.unissued.packets]).toEqual([true, 300]);
  });

  it("honours a burned packet that somebody held after all", async () => {
    const [packet] = stage.lane(0, 0) as [StagePacket];
    const node = await stage.node(0);
    await node.append({ type: "burn", lane: 0, from: 0, to: 3 }).claim(packet).sync();
    await stage.credit(0);
    const report = await stage.reconcile();
    expect(report).toMatchObject({ balanced: true, credited: sum([packet]), burned: { packets: 2 } });
  });

  it("gives the same bytes for the same inputs", async () => {
    const node = await stage.node(0);
    for (const packet of stage.lane(0, 0).slice(0, 20)) node.issue(packet).claim(packet);
    await node.sync();
    await stage.credit(0);
    expect(JSON.stringify(await stage.reconcile())).toBe(JSON.stringify(await stage.reconcile()));
  });

  it("takes the torn tail of a live journal for what it is", async () => {
    const lane = stage.lane(0, 0);
    const node = await stage.node(0);
    node.issue(lane[0] as StagePacket);
    await node.sync();
    const { size } = statSync(segmentPath(stage.epoch.node(0), 0));
    node.issue(lane[1] as StagePacket);
    await node.sync();
    truncateSync(segmentPath(stage.epoch.node(0), 0), size + 20);
    const report = await stage.reconcile();
    expect(report).toMatchObject({ balanced: true, issued: { packets: 1 } });
  });

  it("finds journals below the directories that it is given, by their headers", async () => {
    const node = await stage.node(1);
    await node.issue(stage.lane(1, 0)[0] as StagePacket).sync();
    await node.stop();
    const vault = join(stage.dir, "vault");
    mkdirSync(join(vault, "monday"), { recursive: true });
    renameSync(stage.epoch.node(1), join(vault, "monday", "whatever"));
    // An older copy of the same journal is no second journal: the longest is read.
    cpSync(join(vault, "monday", "whatever"), join(vault, "copy"), { recursive: true });
    truncateSync(segmentPath(join(vault, "copy"), 0), 100);
    expect(await stage.reconcile({ journalDirs: [vault] })).toMatchObject({
      balanced: true,
      issued: { packets: 1 },
    });
    await expect(stage.reconcile({ journalDirs: [join(stage.dir, "nowhere")] })).rejects.toMatchObject({
      code: "missing_file",
    });
  });
});

describe("refused attempts are named and do not unbalance", () => {
  it("double-claim, over-quota, forged and unknown-token, once each, whoever noticed them", async () => {
    const [a, b, c, d] = stage.lane(0, 0) as [StagePacket, StagePacket, StagePacket, StagePacket];
    const node = await stage.node(0);
    for (const packet of [a, b, c]) node.issue(packet, "greedy").claim(packet, "greedy");
    node.claim(a, "thief");
    node.append({
      type: "claim",
      serial: d.serial,
      token: await stage.forge(0, d.serial, 2000, 1),
      user: "thief",
      device: "phone",
      atMs: 1,
    });
    const unknown = Buffer.from(d.token);
    unknown.writeUInt32BE(0xffff_fff0, 9);
    node.append({ type: "claim", serial: 1, token: unknown, user: "thief", device: "phone", atMs: 1 });
    await node.sync();
    const before = await stage.reconcile();
    expect(before.counts).toMatchObject({ "double-claim": 1, forged: 1, "unknown-token": 1 });
    await stage.credit(0);
    const report = await stage.reconcile();
    expect(report.balanced).toBe(true);
    expect(report.counts).toEqual({ "double-claim": 1, "over-quota": 1, forged: 1, "unknown-token": 1 });
    expect(report.rejected).toEqual(sum([c]));
    expect(report.credited).toEqual(sum([a, b]));
    expect(report.findings.map(({ class: name, packet }) => [name, packet])).toEqual([
      ["forged", d.id],
      ["unknown-token", `1-0-${0xffff_fff0}`],
      ["double-claim", a.id],
      ["over-quota", c.id],
    ]);
  });

  it("an attempt that names another shard or epoch is listed as well", async () => {
    const [a] = stage.lane(0, 0) as [StagePacket];
    const token = Buffer.from(a.token);
    token.writeUInt16BE(9, 7);
    const node = await stage.node(0);
    await node.append({ type: "claim", serial: 1, token, user: "x", device: "y", atMs: 1 }).sync();
    await stage.credit(0);
    const report = await stage.reconcile();
    expect([report.balanced, report.counts]).toEqual([true, { forged: 1 }]);
  });

  it("attempts in journal and ledger are counted once each, also above what a report lists", async () => {
    const [a] = stage.lane(0, 0) as [StagePacket];
    const attempts = LISTED_MAX + 500;
    const node = await stage.node(0);
    for (let i = 0; i < attempts; i++) {
      const token = Buffer.from(a.token);
      token.writeUInt32BE(i, 20);
      node.append({ type: "claim", serial: a.serial, token, user: "thief", device: "phone", atMs: 1 });
    }
    await node.sync();
    expect((await stage.reconcile()).counts).toEqual({ forged: attempts });
    await stage.credit(0);
    const report = await stage.reconcile();
    expect([report.balanced, report.counts]).toEqual([true, { forged: attempts }]);
    expect(report.findings).toHaveLength(LISTED_MAX);
  });
});

describe("what is wrong unbalances, by name", () => {
  async function credited(count = 3): Promise<StagePacket[]> {
    const packets = stage.lane(0, 0).slice(0, count);
    const node = await stage.node(0);
    for (const packet of packets) node.issue(packet).claim(packet);
    await node.sync();
    await node.stop();
    await stage.credit(0);
    return packets;
  }

  async function findings(): Promise<[boolean, (string | null)[][]]> {
    const report = await stage.reconcile();
    return [report.balanced, report.findings.map(({ class: name, packet }) => [name, packet])];
  }

  it("amount-mismatch: the credit alone", async () => {
    const [a] = await credited();
    stage.sql(`UPDATE credit SET cents = cents + 1 WHERE serial = ${a?.serial}`);
    expect(await findings()).toEqual([false, [["amount-mismatch", a?.id]]]);
  });

  it("amount-mismatch: credit, postings and balances together, so that the books agree with themselves", async () => {
    const [a] = await credited();
    stage.sql(`UPDATE credit SET cents = cents + 5 WHERE serial = ${a?.serial};
      UPDATE posting SET cents = cents + 5 WHERE epoch = 1 AND serial = ${a?.serial};
      UPDATE account SET balance_cents = balance_cents - 5 WHERE account = 2;
      UPDATE account SET balance_cents = balance_cents + 5 WHERE owner = 'user-${a?.id}'`);
    expect(await findings()).toEqual([false, [["amount-mismatch", a?.id]]]);
  });

  it("amount-mismatch: a posting, a balance, the funding", async () => {
    const [a, b] = await credited();
    stage.sql(
      `UPDATE posting SET cents = cents + 1 WHERE side = 'credit' AND epoch = 1 AND serial = ${a?.serial}`,
    );
    stage.sql(`UPDATE account SET balance_cents = balance_cents + 1 WHERE owner = 'user-${b?.id}'`);
    stage.sql(`UPDATE posting SET cents = cents + 1 WHERE epoch = 0`);
    const [balanced, found] = await findings();
    expect(balanced).toBe(false);
    expect(found.every(([name]) => name === "amount-mismatch")).toBe(true);
    expect(found.map(([, packet]) => packet)).toContain(a?.id);
    const { findings: all } = await stage.reconcile();
    const details = all.map(({ detail }) => detail).join("\n");
    expect(details).toMatch(/funding/);
    expect(details).toMatch(/debits .* and credits/);
    expect(details).toMatch(new RegExp(`wallet user-${b?.id} has`));
  });

  it("credited-twice: the primary key was dropped", async () => {
    const [a, b] = await credited();
    stage.sql(`CREATE TABLE copy AS SELECT * FROM credit; DROP TABLE credit; ALTER TABLE copy RENAME TO credit;
      INSERT INTO credit SELECT * FROM credit WHERE serial = ${b?.serial}`);
    expect(await findings()).toEqual([false, [["credited-twice", b?.id]]]);
    stage.sql(`CREATE TABLE copy AS SELECT * FROM posting; DROP TABLE posting; ALTER TABLE copy RENAME TO posting;
      INSERT INTO posting SELECT * FROM posting WHERE epoch = 1 AND serial = ${a?.serial}`);
    const [, found] = await findings();
    expect(found).toContainEqual(["credited-twice", a?.id]);
  });

  it("credited-unissued: never handed out, never opened, never minted, posted without a credit", async () => {
    await credited();
    const lane = stage.lane(0, 1);
    const node = await stage.node(0);
    await node.issue(lane[1] as StagePacket).sync();
    const pay = ({ serial, cents, ad }: StagePacket, user: string) =>
      stage.sql(`INSERT INTO credit VALUES (1, 0, ${serial}, ${cents}, ${ad}, '${user}', 'phone', 1);
        INSERT INTO account (kind, owner, balance_cents, postings) VALUES ('wallet', '${user}', ${cents}, 1);
        UPDATE account SET balance_cents = balance_cents - ${cents} WHERE account = 2;
        INSERT INTO posting VALUES (1, 0, ${serial}, 'debit', 2, ${cents});
        INSERT INTO posting SELECT 1, 0, ${serial}, 'credit', account, ${cents} FROM account WHERE owner = '${user}'`);
    pay(lane[0] as StagePacket, "insider");
    pay(lane[1] as StagePacket, `user-${lane[1]?.id}`);
    pay({ ...(lane[2] as StagePacket), serial: 4_000_000 }, "ghost");
    pay(lane[3] as StagePacket, "quiet");
    stage.sql(`DELETE FROM credit WHERE serial = ${lane[3]?.serial}`);
    const [balanced, found] = await findings();
    expect(balanced).toBe(false);
    expect(found.filter(([name]) => name !== "credited-unissued").map(([name]) => name)).toEqual([]);
    const expected = [lane[0]?.id, lane[1]?.id, "1-0-4000000", lane[3]?.id];
    expect(found.map(([, packet]) => packet).sort()).toEqual(expected.sort());
  });

  it("credited-unissued: a genuine token reached the worker past the node", async () => {
    await credited();
    const [packet] = stage.lane(1, 0) as [StagePacket];
    const node = await stage.node(1);
    await node.sync();
    await stage.creditClaims(1, node.journal.identity.journalId, [
      { token: packet.token, user: "thief", device: "phone", atMs: 1 },
    ]);
    expect(await findings()).toEqual([false, [["credited-unissued", packet.id]]]);
  });

  it("credited-other: somebody else was paid than the one who opened it", async () => {
    const [a] = await credited();
    stage.sql(`UPDATE credit SET user = 'user-1-0-0x' WHERE serial = ${a?.serial};
      UPDATE account SET owner = 'user-1-0-0x' WHERE owner = 'user-${a?.id}'`);
    expect(await findings()).toEqual([false, [["credited-other", a?.id]]]);
  });

  it("missing-journal: a shard was started, by its owner record or by the ledger's pin", async () => {
    await credited();
    await (await stage.node(1)).stop();
    rmSync(stage.epoch.node(1), { recursive: true });
    expect(await findings()).toEqual([false, [["missing-journal", null]]]);
    rmSync(stage.unlock(stage.epoch.owner(1)));
    expect((await stage.reconcile()).balanced).toBe(true);
    rmSync(stage.epoch.node(0), { recursive: true });
    rmSync(stage.unlock(stage.epoch.owner(0)));
    const report = await stage.reconcile();
    expect([report.balanced, report.counts]).toEqual([false, { "missing-journal": 2 }]);
    expect(report.findings[1]?.detail).toMatch(/cannot speak for 3 credits/);
    expect(report.credited.packets).toBe(3);
  });

  it("missing-journal: another journal than the pinned one", async () => {
    await credited();
    stage.sql("UPDATE journal SET journal_id = x'00112233445566778899aabbccddeeff' WHERE shard = 0");
    const report = await stage.reconcile();
    expect([report.balanced, report.counts]).toEqual([false, { "missing-journal": 1, corrupt: 1 }]);
  });

  it("corrupt: two journals of one shard", async () => {
    await credited();
    const spare = new Stage();
    const node = await spare.node(0);
    await node.sync();
    await node.stop();
    cpSync(spare.epoch.node(0), join(stage.dir, "second"), { recursive: true });
    await spare.remove();
    const report = await stage.reconcile({ journalDirs: [stage.epoch.dataDir, join(stage.dir, "second")] });
    expect([report.balanced, report.counts]).toEqual([false, { corrupt: 1 }]);
  });

  it("missing-ledger: journals tell of one, and none is here", async () => {
    const node = await stage.node(0);
    const [a] = stage.lane(0, 0) as [StagePacket];
    node.issue(a).claim(a);
    await node.append({ type: "acknowledged", ledgerId: Buffer.alloc(16, 1), upTo: 500 }).sync();
    const report = await stage.reconcile();
    expect(report).toMatchObject({
      balanced: false,
      counts: { "missing-ledger": 1, "opened-uncredited": 1 },
    });
  });

  it("corrupt: a flipped byte in a journal, and what stood before it still counts", async () => {
    const packets = await credited(20);
    const path = segmentPath(stage.epoch.node(0), 0);
    flip(path, Math.floor(statSync(path).size / 2));
    const report = await stage.reconcile();
    expect(report.balanced).toBe(false);
    expect(Object.keys(report.counts)).toEqual(["corrupt"]);
    expect(report.findings[0]?.detail).toMatch(/is corrupt at byte/);
    expect(report.credited).toEqual(sum(packets));
  });

  it("corrupt: a journal whose first header is damaged", async () => {
    await credited();
    flip(segmentPath(stage.epoch.node(0), 0), 10);
    const { counts } = await stage.reconcile();
    expect(counts).toEqual({ corrupt: 1, "missing-journal": 2 });
  });

  it("corrupt: a journal that contradicts the seeds", async () => {
    const [a, b] = stage.lane(0, 0) as [StagePacket, StagePacket];
    const node = await stage.node(0);
    node.issue({ ...a, position: 5 }).issue({ ...b, lane: 9 });
    await node.append({ type: "burn", lane: 0, from: 0, to: 5000 }).sync();
    const report = await stage.reconcile();
    expect([report.balanced, report.counts, report.unissued.packets]).toEqual([false, { corrupt: 3 }, 300]);
  });

  it("issued-twice: one packet for two people", async () => {
    const [a] = stage.lane(0, 0) as [StagePacket];
    await (await stage.node(0)).issue(a, "first").issue(a, "second").sync();
    const [balanced, found] = await findings();
    expect(balanced).toBe(false);
    expect(found).toContainEqual(["issued-twice", a.id]);
  });

  it("corrupt: a damaged block of a seed file is named, the rest is accounted for", async () => {
    await credited();
    const { size } = statSync(stage.epoch.seed(1));
    flip(stage.epoch.seed(1), size - 10);
    const report = await stage.reconcile();
    expect([report.balanced, report.counts]).toEqual([false, { corrupt: 1 }]);
    expect(report.findings[0]?.detail).toMatch(/shard-0001\.seed is damaged in block 0 of ad 7/);
    expect(report.byShard[0]?.unissued.packets).toBe((report.byShard[0]?.budget.packets ?? 0) - 3);
    expect(report.unissued.packets + report.credited.packets).toBe(300);
  });

  it("corrupt: journal facts about packets whose tokens are damaged keep their states", async () => {
    const lane = stage.lane(1, 1);
    const node = await stage.node(1);
    for (const packet of lane.slice(0, 5)) node.issue(packet).claim(packet);
    await node.sync();
    await stage.credit(1);
    flip(stage.epoch.seed(1), statSync(stage.epoch.seed(1)).size - 10);
    const report = await stage.reconcile();
    expect(report.counts).toEqual({ corrupt: 1 });
    expect(report.byAd[1]?.credited.packets).toBe(5);
  });

  it("corrupt: a ledger with a damaged page, or with values that cannot be", async () => {
    await credited();
    stage.sql("UPDATE credit SET user = '' WHERE 0; PRAGMA wal_checkpoint(TRUNCATE)");
    const pristine = readFileSync(stage.epoch.of.ledger);
    const broken = Buffer.from(pristine);
    broken.fill(0xee, 4096 * 4, 4096 * 8);
    writeFileSync(stage.epoch.of.ledger, broken);
    const report = await stage.reconcile();
    expect(report.balanced).toBe(false);
    expect(Object.keys(report.counts)).toContain("corrupt");
    writeFileSync(stage.epoch.of.ledger, "this is no ledger at all, but it has some bytes".repeat(99));
    expect(await stage.reconcile()).toMatchObject({ balanced: false, ledger: null });
  });
});

describe("inputs that are not this campaign's are refused", () => {
  it("a ledger of another manifest", async () => {
    await stage.credit();
    stage.sql(`UPDATE ledger SET manifest_hash = '${"ab".repeat(32)}'`);
    await expect(stage.reconcile()).rejects.toMatchObject({ code: "ledger_mismatch" });
  });

  it("a manifest that was changed, a signature that is missing, a key of another mint, a missing seed file", async () => {
    const manifest = readFileSync(stage.unlock(stage.epoch.manifest), "utf8");
    writeFileSync(stage.epoch.manifest, manifest.replace("Sponsor A", "Sponsor Z"));
    await expect(stage.reconcile()).rejects.toMatchObject({ code: "invalid_signature" });
    writeFileSync(stage.epoch.manifest, manifest);
    const key = readFileSync(stage.unlock(stage.epoch.settlementKey), "utf8");
    const other = { ...parseKeyFile("settlement", key, "it"), epoch: 2 };
    writeFileSync(stage.epoch.settlementKey, formatKeyFile<"settlement">(other));
    await expect(stage.reconcile()).rejects.toMatchObject({ code: "key_mismatch" });
    writeFileSync(stage.epoch.settlementKey, key);
    renameSync(stage.epoch.seed(1), `${stage.epoch.seed(1)}.away`);
    await expect(stage.reconcile()).rejects.toMatchObject({ code: "missing_file" });
    rmSync(stage.unlock(stage.epoch.signature("operator")));
    await expect(stage.reconcile()).rejects.toMatchObject({ code: "missing_signature" });
    await expect(stage.reconcile({ epoch: 4 })).rejects.toMatchObject({ code: "missing_file" });
  });
});
