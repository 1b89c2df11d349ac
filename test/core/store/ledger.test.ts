/** What a ledger answers, and what holds in it whatever it is asked. */
import { join } from "node:path";
import Database from "better-sqlite3";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AuthenticClaim, RefusedClaim } from "../../../core/store/ledger-claim.ts";
import { openLedgerFile } from "../../../core/store/ledger-file.ts";
import { RANGES_AHEAD_MAX } from "../../../core/store/ledger-statements.ts";
import { journalId, Mint } from "../../apps/credit-worker/mint.ts";
import {
  contents,
  faults,
  newLedger,
  reading,
  refusal,
  refused,
  tamper,
  temporaryDirectory,
  wallets,
} from "./ledger-world.ts";

const J0 = journalId(0);
const generous = { perUser: 1000, perAd: 1000 };

describe("a new ledger", () => {
  it("syncs every commit: WAL, synchronous=FULL, foreign keys, as SQLite reads them back", async () => {
    const { db } = await openLedgerFile(join(temporaryDirectory(), "deep/down/l.db"), new Mint().file);
    expect(db.pragma("journal_mode", { simple: true })).toBe("wal");
    expect(db.pragma("synchronous", { simple: true })).toBe(2);
    expect(db.pragma("foreign_keys", { simple: true })).toBe(1);
    db.close();
  });

  it("has only STRICT tables", async () => {
    const { path } = await newLedger(new Mint());
    const db = new Database(path, { readonly: true });
    const tables = db.pragma("table_list") as { name: string; schema: string; strict: number }[];
    db.close();
    const loose = tables.filter((table) => table.schema === "main" && table.strict === 0);
    expect(loose.map((table) => table.name)).toEqual(["sqlite_schema"]);
    expect(tables.length).toBeGreaterThan(6);
  });

  it("says whose it is, TEST included, and holds the whole budget in escrow", async () => {
    const mint = new Mint({ campaign: "gala-2027", epoch: 3 });
    const ledger = await newLedger(mint);
    expect(ledger.wasCreated).toBe(true);
    reading(ledger.path, (reader) => {
      expect(reader.pin).toEqual({
        ledgerId: ledger.pin.ledgerId,
        campaign: "gala-2027",
        mode: "TEST",
        epoch: 3,
        manifestHash: mint.file.hash,
        packets: mint.manifest.packets,
        budgetCents: mint.manifest.budgetCents,
      });
      expect(reader.totals()).toEqual({ packets: 0, cents: 0 });
      const { budgetCents } = mint.manifest;
      expect(reader.postingTotals()).toEqual({ debitCents: budgetCents, creditCents: budgetCents });
    });
    expect(faults(ledger.path)).toEqual([]);
  });

  it("keeps its ID when opened again, and two ledgers have two", async () => {
    const mint = new Mint();
    const first = await newLedger(mint);
    const again = await newLedger(mint, first.path);
    expect(again.wasCreated).toBe(false);
    expect(again.pin).toEqual(first.pin);
    expect((await newLedger(mint)).pin.ledgerId).not.toEqual(first.pin.ledgerId);
  });

  it("is made once by two workers that start at the same time", async () => {
    const mint = new Mint();
    const path = join(temporaryDirectory(), "l.db");
    const [a, b] = await Promise.all([newLedger(mint, path), newLedger(mint, path)]);
    expect(a.pin).toEqual(b.pin);
    expect([a.wasCreated, b.wasCreated].sort()).toEqual([false, true]);
  });
});

describe("a claim", () => {
  it("is created once and exists ever after", async () => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    const claim = mint.checked(0, 7, "ann");
    expect(ledger.record(0, J0, [claim])).toEqual(["created"]);
    expect(ledger.record(0, J0, [claim, claim])).toEqual(["exists", "exists"]);
    const { credits, totals } = contents(ledger.path);
    const { atMs, user, device } = claim.claim;
    const packet = { epoch: 1, shard: 0, serial: 7, cents: mint.cents(7), ad: 1 };
    expect(credits).toEqual([{ ...packet, user, device, claimedAtMs: atMs }]);
    expect(totals).toEqual({ packets: 1, cents: mint.cents(7) });
    expect(wallets(ledger.path)).toEqual({ ann: mint.cents(7) });
    expect(faults(ledger.path)).toEqual([]);
  });

  it("is in the file when record returns: another connection sees it at once", async () => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    ledger.record(0, J0, [mint.checked(0, 1, "ann")]);
    expect(reading(ledger.path, (reader) => reader.totals().packets)).toBe(1);
  });

  it.each([
    ["user", (mint: Mint) => mint.checked(0, 7, "bob")],
    ["device", (mint: Mint) => mint.checked(0, 7, "ann", "another")],
    ["amount", (mint: Mint) => ({ ...mint.checked(0, 7, "ann"), cents: 499 })],
    ["amount", (mint: Mint) => ({ ...mint.checked(0, 7, "ann"), ad: 2 })],
  ])("conflicts by %s with a credited packet: a double-claim, recorded once", async (detail, other) => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    ledger.record(0, J0, [mint.checked(0, 7, "ann")]);
    const late = other(mint);
    expect(ledger.record(0, J0, [late])).toEqual(["conflict"]);
    expect(ledger.record(0, J0, [late])).toEqual(["exists"]);
    const { rejections, totals } = contents(ledger.path);
    expect(rejections).toHaveLength(1);
    expect(rejections[0]).toMatchObject({ serial: 7, reason: "double-claim", detail, user: late.claim.user });
    expect(totals).toEqual({ packets: 1, cents: mint.cents(7) });
    expect(faults(ledger.path)).toEqual([]);
  });

  it("that was refused is remembered with its reason, once, and moves no money", async () => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    const forged: RefusedClaim = {
      verdict: "refused",
      claim: mint.claim(0, 9, "eve"),
      reason: "forged",
      detail: "checksum",
    };
    const unknown: RefusedClaim = {
      ...forged,
      claim: mint.claim(0, 8, "eve"),
      reason: "unknown-token",
      detail: "serial",
    };
    expect(ledger.record(0, J0, [forged, unknown, forged])).toEqual(["rejected", "rejected", "exists"]);
    const { rejections, totals } = contents(ledger.path);
    expect(rejections.map(({ serial, reason, detail, cents }) => [serial, reason, detail, cents])).toEqual([
      [8, "unknown-token", "serial", undefined],
      [9, "forged", "checksum", undefined],
    ]);
    expect(totals).toEqual({ packets: 0, cents: 0 });
  });

  it("with the largest serial, amount, user and time comes back as it went in", async () => {
    const mint = new Mint({ lanePackets: 10 });
    const ledger = await newLedger({ file: bigBudget(mint) } as Mint);
    const claim = mint.checked(0, 0xffff_ffff, "ü".repeat(64), "🧧".repeat(32));
    const big: AuthenticClaim = {
      ...claim,
      cents: 0xffff_ffff,
      claim: { ...claim.claim, atMs: Number.MAX_SAFE_INTEGER },
    };
    expect(ledger.record(0, J0, [big])).toEqual(["created"]);
    expect(ledger.record(0, J0, [big])).toEqual(["exists"]);
    expect(contents(ledger.path).credits[0]).toMatchObject({
      serial: 0xffff_ffff,
      cents: 0xffff_ffff,
      user: "ü".repeat(64),
      device: "🧧".repeat(32),
      claimedAtMs: Number.MAX_SAFE_INTEGER,
    });
  });

  it("cannot fill the disk with its user when refused", async () => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    const claim = { ...mint.claim(0, 9, "x".repeat(60_000)), device: "\0".repeat(60_000) };
    const forged: RefusedClaim = { verdict: "refused", claim, reason: "forged", detail: "identity" };
    expect(ledger.record(0, J0, [forged])).toEqual(["rejected"]);
    const [row] = contents(ledger.path).rejections;
    expect([row?.user.length, row?.device.length]).toEqual([128, 128]);
  });
});

describe("the quota", () => {
  it("is held per user and per ad, and a claim over it stays refused on every replay", async () => {
    const mint = new Mint({ quota: { perUser: 3, perAd: 2 } });
    const ledger = await newLedger(mint);
    const claims = [0, 1, 2, 60, 61].map((serial) => mint.checked(0, serial, "ann"));
    const answers = ["created", "created", "rejected", "created", "rejected"];
    expect(ledger.record(0, J0, claims)).toEqual(answers);
    expect(ledger.record(0, J0, claims)).toEqual(claims.map(() => "exists"));
    const { rejections } = contents(ledger.path);
    expect(
      rejections.map(({ serial, reason, detail, cents, ad }) => [serial, reason, detail, cents, ad]),
    ).toEqual([
      [2, "over-quota", "ad", mint.cents(2), 1],
      [61, "over-quota", "user", mint.cents(61), 2],
    ]);
    expect(faults(ledger.path)).toEqual([]);
  });

  it("counts over all shards: who shook at several nodes is still held to it", async () => {
    const mint = new Mint({ shards: 2 });
    const ledger = await newLedger(mint);
    expect(ledger.record(0, J0, [mint.checked(0, 1, "ann")])).toEqual(["created"]);
    expect(ledger.record(1, journalId(1), [mint.checked(1, 1, "ann")])).toEqual(["rejected"]);
    expect(ledger.record(1, journalId(1), [mint.checked(1, 1, "bob")])).toEqual(["created"]);
    // The packet is Bob's by now; Ann's claim keeps the answer that it got.
    expect(ledger.record(1, journalId(1), [mint.checked(1, 1, "ann")])).toEqual(["exists"]);
    expect(contents(ledger.path).rejections.map(({ reason }) => reason)).toEqual(["over-quota"]);
  });
});

describe("journals and manifests", () => {
  it("a shard belongs to the journal of its first batch; another one's batch does nothing", async () => {
    const mint = new Mint({ shards: 2 });
    const ledger = await newLedger(mint);
    expect(ledger.record(0, J0, [])).toEqual([]);
    const other = Buffer.alloc(16, 0xee);
    expect(ledger.record(0, other, [mint.checked(0, 1, "ann")])).toBe("wrong-journal");
    expect(ledger.record(0, J0, [mint.checked(0, 1, "ann")])).toEqual(["created"]);
    expect(contents(ledger.path).journals).toEqual([[0, J0]]);
  });

  it("a journal serves one shard only", async () => {
    const mint = new Mint({ shards: 2 });
    const ledger = await newLedger(mint);
    ledger.record(0, J0, []);
    expect(ledger.record(1, J0, [mint.checked(1, 1, "ann")])).toBe("wrong-journal");
    expect(contents(ledger.path).credits).toEqual([]);
  });

  it("the pin outlives the process", async () => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    ledger.record(0, J0, []);
    ledger.close();
    expect((await newLedger(mint, ledger.path)).record(0, Buffer.alloc(16, 9), [])).toBe("wrong-journal");
  });

  it.each([
    ["another campaign", { campaign: "other" }, /campaign gala-test \(TEST\), epoch 1, not campaign other/],
    ["another mode", { mode: "live" as const }, /\(TEST\), epoch 1, not campaign gala-test \(LIVE\)/],
    ["another epoch", { epoch: 2 }, /epoch 1, not campaign gala-test \(TEST\), epoch 2: name that .*epoch/],
    ["another mint of the same epoch", { lanePackets: 51 }, /another mint of campaign gala-test.*SHA-256/],
  ])("%s is refused, saying what to do", async (_, options, why) => {
    const { path } = await newLedger(new Mint());
    const error = await refused(newLedger(new Mint(options), path));
    expect(error.code).toBe("ledger_mismatch");
    expect(error.message).toMatch(why);
    expect(error.message).toMatch(/set LEDGER_URL to a new file/);
  });
});

describe("how far a journal is settled", () => {
  it("ends at the first gap, never moves back, and is each shard's own", async () => {
    const mint = new Mint({ shards: 2 });
    const ledger = await newLedger(mint);
    const settle = (from: number, to: number) => {
      ledger.record(0, J0, [], { from, to });
      return ledger.settledUpTo(0);
    };
    expect(ledger.settledUpTo(0)).toBe(0);
    expect(settle(0, 50)).toBe(50);
    expect(settle(51, 90)).toBe(50);
    expect(settle(20, 60)).toBe(90);
    expect(settle(20, 60)).toBe(90);
    expect(settle(90, 90)).toBe(90);
    expect(settle(95, 95)).toBe(90);
    expect(settle(70, 160)).toBe(160);
    expect(ledger.record(0, J0, [mint.checked(0, 1, "ann")])).toEqual(["created"]);
    expect([ledger.settledUpTo(0), ledger.settledUpTo(1), ledger.settledUpTo(7)]).toEqual([160, 0, 0]);
  });

  it("takes in what was settled in front of its turn, in any order, once the gap is closed", () =>
    fc.assert(
      fc.asyncProperty(fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7]), async (order) => {
        const ledger = await newLedger(new Mint({ shards: 2 }));
        const settled = new Set<number>();
        for (const nth of order) {
          ledger.record(0, J0, [], { from: nth * 10, to: nth * 10 + 10 });
          ledger.record(1, Buffer.alloc(16, 9), [], { from: nth * 10, to: nth * 10 + 1 });
          settled.add(nth);
          const gap = [0, 1, 2, 3, 4, 5, 6, 7].find((one) => !settled.has(one)) ?? 8;
          expect(ledger.settledUpTo(0)).toBe(gap * 10);
          expect(ledger.settledUpTo(1)).toBe(settled.has(0) ? 1 : 0);
        }
        ledger.close();
      }),
      { numRuns: 30 },
    ));

  it("remembers so many ranges beyond a gap and no more, whoever makes them up", async () => {
    const ledger = await newLedger(new Mint());
    for (let nth = 1; nth <= RANGES_AHEAD_MAX + 10; nth++)
      ledger.record(0, J0, [], { from: nth * 10, to: nth * 10 + 10 });
    ledger.record(0, J0, [], { from: 0, to: 10 });
    expect(ledger.settledUpTo(0)).toBe((RANGES_AHEAD_MAX + 1) * 10);
  });

  it("takes in overlapping ranges whole", async () => {
    const ledger = await newLedger(new Mint());
    for (const [from, to] of [
      [30, 40],
      [30, 35],
      [20, 60],
      [50, 55],
      [61, 70],
    ] as const)
      ledger.record(0, J0, [], { from, to });
    expect(ledger.settledUpTo(0)).toBe(0);
    ledger.record(0, J0, [], { from: 0, to: 25 });
    expect(ledger.settledUpTo(0)).toBe(60);
    ledger.record(0, J0, [], { from: 60, to: 61 });
    expect(ledger.settledUpTo(0)).toBe(70);
  });

  it("is not moved by what another journal says", async () => {
    const ledger = await newLedger(new Mint());
    ledger.record(0, J0, []);
    expect(ledger.record(0, Buffer.alloc(16, 9), [], { from: 0, to: 50 })).toBe("wrong-journal");
    expect(ledger.settledUpTo(0)).toBe(0);
  });

  it("is not moved by a batch that was undone", async () => {
    const mint = new Mint({ lanePackets: 10 });
    const ledger = await newLedger(mint);
    const tooMuch = { ...mint.checked(0, 1, "eve"), cents: mint.manifest.budgetCents + 1 };
    expect(refusal(() => ledger.record(0, J0, [tooMuch], { from: 0, to: 50 })).code).toBe("corrupt_ledger");
    expect(ledger.settledUpTo(0)).toBe(0);
  });

  it("cannot be said by a ledger that lost its journals", async () => {
    const ledger = await newLedger(new Mint());
    tamper(ledger.path, "DROP TABLE journal");
    const error = refusal(() => ledger.settledUpTo(0));
    expect([error.code, error.message]).toEqual([
      "corrupt_ledger",
      expect.stringMatching(/no such table: journal/),
    ]);
  });
});

describe("double entry", () => {
  it("the escrow cannot go below zero: the transaction is undone and says to stop", async () => {
    const mint = new Mint({ lanePackets: 10, quota: generous });
    const ledger = await newLedger(mint);
    const { budgetCents } = mint.manifest;
    const all = { ...mint.checked(0, 1, "eve"), cents: budgetCents - 5 };
    expect(ledger.record(0, J0, [all])).toEqual(["created"]);
    const error = refusal(() => ledger.record(0, J0, [mint.checked(0, 2, "ann"), mint.checked(0, 3, "ann")]));
    expect(error.code).toBe("corrupt_ledger");
    expect(error.message).toMatch(/escrow .* holds 5 cents, but 187 are due.*hongbao reconcile/);
    expect(contents(ledger.path).totals).toEqual({ packets: 1, cents: budgetCents - 5 });
    expect(faults(ledger.path)).toEqual([]);
    // Exactly the rest can still be paid.
    expect(ledger.record(0, J0, [{ ...mint.checked(0, 2, "ann"), cents: 5 }])).toEqual(["created"]);
  });

  it.each([
    ["an escrow below zero", "UPDATE account SET balance_cents = -1 WHERE kind = 'escrow'"],
    ["a wallet below zero", "UPDATE account SET balance_cents = -1 WHERE kind = 'wallet'"],
    [
      "a second credit of a packet",
      "INSERT INTO credit SELECT epoch, shard, serial, 2, ad, 'x', device, 1 FROM credit",
    ],
    [
      "a second posting of a side",
      "INSERT INTO posting SELECT epoch, shard, serial, side, 2, 9 FROM posting",
    ],
    ["a posting without an account", "INSERT INTO posting VALUES (1, 0, 99, 'debit', 77, 9)"],
    ["a posting of nothing", "INSERT INTO posting VALUES (1, 0, 99, 'debit', 2, 0)"],
    [
      "a second manifest",
      "INSERT INTO ledger SELECT 2, ledger_id, campaign, mode, epoch, manifest_hash, 1, 1 FROM ledger",
    ],
    ["a fraction of a cent", "UPDATE credit SET cents = 1.5"],
    ["an amount in words", "UPDATE credit SET cents = 'ten'"],
  ])("SQLite itself refuses %s", async (_, sql) => {
    const mint = new Mint();
    const { path } = await newLedger(mint).then((ledger) => {
      ledger.record(0, J0, [mint.checked(0, 1, "ann")]);
      return ledger;
    });
    const db = new Database(path);
    expect(() => db.exec(sql)).toThrow(/constraint failed|cannot store/);
    db.close();
    expect(faults(path)).toEqual([]);
  });

  it("any order, any duplication, any slicing of claims: the same books", async () => {
    const mint = new Mint({ lanePackets: 20, quota: generous });
    const claims = Array.from({ length: 40 }, (_, serial) => mint.checked(0, serial, `user-${serial % 7}`));
    const inOrder = await newLedger(mint);
    inOrder.record(0, J0, claims);
    const expected = contents(inOrder.path);
    const shuffled = fc.shuffledSubarray(claims, { minLength: claims.length });
    const again = fc.array(fc.constantFrom(...claims), { maxLength: 30 });
    const cuts = fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(shuffled, again, cuts, async (order, more, sizes) => {
        const ledger = await newLedger(mint);
        for (const slice of slices([...order, ...more], sizes)) ledger.record(0, J0, slice);
        expect(contents(ledger.path)).toEqual(expected);
        expect(faults(ledger.path)).toEqual([]);
        ledger.close();
      }),
      { numRuns: 20 },
    );
  });

  it("rivals and quotas in one order: the same books however often claims repeat and are sliced", async () => {
    const mint = new Mint({ lanePackets: 10, quota: { perUser: 3, perAd: 2 } });
    const rivals = fc.record({ serial: fc.nat(19), user: fc.constantFrom("ann", "bob", "cy", "dee") });
    const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(rivals, { minLength: 1, maxLength: 40 }),
        fc.array(fc.nat(39), { maxLength: 40 }),
        cuts,
        async (picks, repeats, sizes) => {
          const claims = picks.map(({ serial, user }) => mint.checked(0, serial, user));
          const once = await newLedger(mint);
          once.record(0, J0, claims);
          const often = await newLedger(mint);
          for (const slice of slices(repeating(claims, repeats), sizes)) often.record(0, J0, slice);
          expect(contents(often.path)).toEqual(contents(once.path));
          expect(faults(once.path)).toEqual([]);
          for (const ledger of [once, often]) ledger.close();
        },
      ),
      { numRuns: 20 },
    );
  });
});

function slices<T>(items: readonly T[], sizes: readonly number[]): T[][] {
  const cut: T[][] = [];
  for (let at = 0, i = 0; at < items.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    cut.push(items.slice(at, at + size));
    at += size;
  }
  return cut;
}

/** The same first times in the same order, with claims that were there before thrown in between. */
function repeating<T>(items: readonly T[], repeats: readonly number[]): T[] {
  return items.flatMap((item, i) => {
    const earlier = items[(repeats[i] ?? 0) % (i + 1)];
    return earlier === undefined ? [item] : [item, earlier];
  });
}

function bigBudget(mint: Mint) {
  return { ...mint.file, manifest: { ...mint.manifest, budgetCents: 2 ** 50 } };
}
