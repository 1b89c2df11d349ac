/**
 * Reconcile while the show runs, histories that nobody thought of, and the papers that finance takes away.
 */
import { cpSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { formatKeyFile, parseKeyFile } from "../../../core/format/keyfile.ts";
import { openJournalReader, segmentPath } from "../../../core/store/journal-reader.ts";
import { reconcile } from "../../../scripts/reconcile/reconcile.ts";
import { type Amount, STATES, type State, totalOf } from "../../../scripts/reconcile/shard-books.ts";
import { CAMPAIGN, claimOf, forgetMint, mintOnce, Stage, type StagePacket } from "./stage.ts";

let stage: Stage;

beforeAll(mintOnce);
afterAll(forgetMint);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.remove());

describe("reconcile while the show runs", () => {
  it("never sees a credit whose claim is not in the journal, nor a damaged journal", async () => {
    const nodes = [await stage.node(0), await stage.node(1)];
    const rest = [0, 1].map((shard) => stage.packets.filter((packet) => packet.shard === shard));
    let done = false;
    const show = async () => {
      while (rest.some((packets) => packets.length > 0)) {
        for (const [shard, node] of nodes.entries()) {
          const batch = rest[shard]?.splice(0, 7) ?? [];
          for (const packet of batch) node.issue(packet).claim(packet);
          await node.sync();
          await stage.creditClaims(
            shard,
            node.journal.identity.journalId,
            batch.map((packet) => claimOf(packet)),
          );
        }
      }
      done = true;
    };
    const running = show();
    let reports = 0;
    while (!done) {
      const report = await stage.reconcile();
      expect(Object.keys(report.counts).filter((name) => name !== "opened-uncredited")).toEqual(
        report.counts["issued-unopened"] ? ["issued-unopened"] : [],
      );
      expect(report.balanced).toBe(true);
      expect(totalOf(report)).toEqual(report.budget);
      reports++;
    }
    await running;
    expect(reports).toBeGreaterThan(2);
    expect(await stage.reconcile()).toMatchObject({
      balanced: true,
      credited: { packets: 300 },
      findings: [],
    });
  });

  it("does not take for damage what a live writer completed while it was read", async () => {
    const [a, b] = stage.lane(0, 0) as [StagePacket, StagePacket];
    const node = await stage.node(0);
    const path = segmentPath(stage.epoch.node(0), 0);
    await node.issue(a).sync();
    const { size } = statSync(path);
    await node.issue(b).sync();
    await node.stop();
    const completed = readFileSync(path);
    truncateSync(path, size + 20);
    const reader = await openJournalReader(stage.epoch.node(0));
    const look: (handle: unknown) => Promise<number> = Reflect.get(reader, "statementBehind");
    // The reader has met the end of half a frame. Now the writer completes it, syncs it and says so.
    Reflect.set(reader, "statementBehind", (handle: unknown) => {
      writeFileSync(path, completed);
      return look.call(reader, handle);
    });
    const issued = [];
    for await (const { frame } of reader.entries()) if (frame.type === "issue") issued.push(frame.serial);
    await reader.close();
    expect(issued).toEqual([a.serial, b.serial]);
  });

  it("says that a ledger has lost what it acknowledged", async () => {
    const [a, b] = stage.lane(0, 0) as [StagePacket, StagePacket];
    const node = await stage.node(0);
    await node.issue(a).claim(a).sync();
    await stage.credit();
    const old = readFileSync(stage.epoch.of.ledger);
    await stage.credit(0);
    const { ledger } = await stage.reconcile();
    const ledgerId = Buffer.from(ledger?.id ?? "", "hex");
    node.append({ type: "acknowledged", ledgerId, upTo: node.journal.appendedOffset });
    await node.issue(b).claim(b).sync();
    rmSync(`${stage.epoch.of.ledger}-wal`, { force: true });
    writeFileSync(stage.epoch.of.ledger, old);
    const report = await stage.reconcile();
    expect([report.balanced, report.counts]).toEqual([true, { "opened-uncredited": 2 }]);
    const lost = report.findings.filter(({ detail }) => /acknowledged, but not in the ledger/.test(detail));
    expect(lost.map(({ packet }) => packet)).toEqual([a.id]);
    await stage.credit(0);
    expect(await stage.reconcile()).toMatchObject({ balanced: true, credited: { packets: 2 }, findings: [] });
  });
});

/** What happens to the next packets of a lane. */
type Act = { lane: number; shard: number } & (
  | { kind: "issue"; claim: boolean; user: number }
  | { kind: "burn"; count: number; honoured: boolean }
  | { kind: "credit" }
);

const act: fc.Arbitrary<Act> = fc
  .record({ lane: fc.nat({ max: 1 }), shard: fc.nat({ max: 1 }) })
  .chain((where) =>
    fc
      .oneof(
        {
          weight: 12,
          arbitrary: fc.record({
            kind: fc.constant("issue" as const),
            claim: fc.boolean(),
            user: fc.nat({ max: 12 }),
          }),
        },
        {
          weight: 2,
          arbitrary: fc.record({
            kind: fc.constant("burn" as const),
            count: fc.nat({ max: 9 }),
            honoured: fc.boolean(),
          }),
        },
        { weight: 1, arbitrary: fc.constant({ kind: "credit" as const }) },
      )
      .map((what) => ({ ...where, ...what })),
  );

describe("any history", () => {
  it("puts every packet where a slow and simple account puts it; the states add up to the budget", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 60 }), async (acts) => {
        const one = new Stage();
        try {
          const expected = await play(one, acts);
          const report = await one.reconcile();
          expect(report.balanced).toBe(true);
          for (const state of STATES)
            expect([state, report[state]]).toEqual([state, sums(one, expected)[state]]);
          for (const row of [report, ...report.byShard, ...report.byAd])
            expect(totalOf(row)).toEqual(row.budget);
        } finally {
          await one.remove();
        }
      }),
      { numRuns: 25 },
    );
  });
});

/** Plays a history through the real writers, and keeps its own account: a state a packet, by name. */
async function play(one: Stage, acts: readonly Act[]): Promise<Map<string, State>> {
  const states = new Map<string, State>();
  const holders = new Map<string, string>();
  const won = new Map<string, number>();
  const lanes = [0, 1].map((shard) => [0, 1].map((lane) => one.lane(shard, lane)));
  const nodes = [await one.node(0), await one.node(1)];
  const claims: StagePacket[][] = [[], []];
  for (const step of acts) {
    const [node, lane] = [nodes[step.shard], lanes[step.shard]?.[step.lane]];
    if (node === undefined || lane === undefined) continue;
    const claim = (packet: StagePacket, user: string) => {
      node.claim(packet, user);
      claims[step.shard]?.push(packet);
      holders.set(packet.id, user);
      states.set(packet.id, "opened");
    };
    if (step.kind === "issue") {
      const packet = lane.shift();
      if (packet === undefined) continue;
      node.issue(packet, `u${step.user}`);
      states.set(packet.id, "issued");
      if (step.claim) claim(packet, `u${step.user}`);
    } else if (step.kind === "burn") {
      const burned = lane.splice(0, step.count);
      const from = burned[0]?.position ?? 0;
      node.append({ type: "burn", lane: step.lane, from, to: from + burned.length });
      for (const packet of burned) states.set(packet.id, "burned");
      if (step.honoured && burned[0]) claim(burned[0], "holder");
    } else {
      await node.sync();
      await one.credit(step.shard);
      for (const packet of claims[step.shard]?.splice(0) ?? []) {
        const user = holders.get(packet.id) ?? "";
        const before = won.get(user) ?? 0;
        states.set(packet.id, before < 2 ? "credited" : "rejected");
        if (before < 2) won.set(user, before + 1);
      }
    }
  }
  for (const node of nodes) await node.sync();
  return states;
}

function sums(one: Stage, states: ReadonlyMap<string, State>): Record<State, Amount> {
  const none = () => ({ packets: 0, cents: 0 });
  const result = Object.fromEntries(STATES.map((state) => [state, none()])) as Record<State, Amount>;
  for (const packet of one.packets) {
    const sum = result[states.get(packet.id) ?? "unissued"];
    sum.packets++;
    sum.cents += packet.cents;
  }
  return result;
}

describe("--audit", () => {
  it("derives every key and mints every seed file again", async () => {
    const { audit, balanced } = await stage.reconcile({ audit: true });
    expect(balanced).toBe(true);
    expect(audit?.skipped).toEqual([]);
    expect(audit?.checked).toHaveLength(4);
  });

  it("says what it could not check without the master key", async () => {
    rmSync(stage.unlock(stage.epoch.of.masterKey));
    const report = await stage.reconcile({ audit: true });
    expect([report.balanced, report.audit?.skipped.length]).toEqual([true, 1]);
  });

  it("names keys that the master key does not derive, and seeds that it does not mint", async () => {
    const own = parseKeyFile("master", readFileSync(stage.unlock(stage.epoch.of.masterKey), "utf8"), "it");
    writeFileSync(stage.epoch.of.masterKey, formatKeyFile<"master">({ ...own, master: "A".repeat(43) }));
    const report = await stage.reconcile({ audit: true });
    expect(report.balanced).toBe(false);
    const details = report.findings.map(({ detail }) => detail).join("\n");
    expect(details).toMatch(/settlement\.key does not hold/);
    expect(details).toMatch(/node-0001\.key does not hold/);
    expect(details).toMatch(/shard 1: minting it again/);
  });

  it("needs nothing of it for a campaign elsewhere: another campaign is another directory", async () => {
    await expect(reconcile({ roots: stage.roots, campaign: "other", audit: true })).rejects.toMatchObject({
      code: "missing_file",
    });
    const copy = join(stage.dir, "seeds", "other");
    cpSync(join(stage.dir, "seeds", CAMPAIGN), copy, { recursive: true });
    await expect(reconcile({ roots: stage.roots, campaign: "other", audit: true })).rejects.toMatchObject({
      code: "invalid_manifest",
    });
    renameSync(copy, `${copy}-gone`);
  });
});
