/** Every way in which a ledger can be out of reach: a sentence to act on, nothing half done, no claim twice. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import Database from "better-sqlite3";
import { beforeAll, describe, expect, it } from "vitest";
import { isLedgerLocked } from "../../../core/store/ledger-error.ts";
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
} from "./ledger-world.ts";

const CHILD = join(import.meta.dirname, "ledger-child.mjs");
const BUILT = join(import.meta.dirname, "../../../dist/core/store/ledger.js");
const J0 = journalId(0);
const NOBODY = 65_534;

beforeAll(() => {
  if (!existsSync(BUILT)) throw new Error("dist is missing: run `npm run build` before these tests");
});

describe("a ledger whose schema is damaged", () => {
  it("is refused as corrupt, by name, and not with SQLite's words for a bug", async () => {
    const mint = new Mint();
    const { path } = await newLedger(mint).then((ledger) => {
      ledger.close();
      return ledger;
    });
    // As a flipped bit in the file does: the ledger's own statements no longer fit its tables.
    const bytes = readFileSync(path);
    const at = bytes.indexOf("REFERENCES account");
    expect(at).toBeGreaterThan(0);
    bytes.write("REFERENCES accounu", at);
    writeFileSync(path, bytes);
    const error = await refused(newLedger(mint, path));
    expect(error.code).toBe("corrupt_ledger");
    expect(error.message).toContain(path);
  });
});

describe("a ledger that is locked", () => {
  it("is the one failure that passes: nothing was done, and later it works", async () => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    const shell = new Database(ledger.path);
    shell.exec("BEGIN IMMEDIATE");
    const error = refusal(() => ledger.record(0, J0, [mint.checked(0, 1, "ann")]));
    expect([error.code, isLedgerLocked(error)]).toEqual(["ledger_unavailable", true]);
    expect(error.message).toMatch(/is locked by another program: end its transaction/);
    shell.exec("ROLLBACK");
    shell.close();
    expect(ledger.record(0, J0, [mint.checked(0, 1, "ann")])).toEqual(["created"]);
  });

  it("for everybody, cannot be opened meanwhile either, and says the same", async () => {
    const mint = new Mint();
    const { path } = await newLedger(mint).then((ledger) => {
      ledger.close();
      return ledger;
    });
    const shell = new Database(path);
    shell.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; COMMIT");
    expect(isLedgerLocked(await refused(newLedger(mint, path)))).toBe(true);
    shell.close();
    expect((await newLedger(mint, path)).wasCreated).toBe(false);
  });
});

describe("a ledger that is not one", () => {
  it.each([
    [
      "a text file",
      "corrupt_ledger",
      /is not a SQLite database: set LEDGER_URL/,
      (path: string) => writeFileSync(path, "hello ".repeat(1000)),
    ],
    [
      "another program's database",
      "ledger_mismatch",
      /another program, not a ledger: set LEDGER_URL/,
      (path: string) => tamper(path, "CREATE TABLE cookies (x)"),
    ],
    [
      "a ledger of a later version",
      "ledger_mismatch",
      /has format 3, this program knows 2/,
      (path: string) => tamper(path, "PRAGMA application_id = 0x48424c47; PRAGMA user_version = 3"),
    ],
    ["a directory", "ledger_unavailable", /is a directory/, (path: string) => mkdirSync(path)],
  ])("%s: %s", async (_, code, why, make) => {
    const path = join(temporaryDirectory(), "l.db");
    make(path);
    const before = existsSync(path) && code !== "ledger_unavailable" ? readFileSync(path) : undefined;
    const error = await refused(newLedger(new Mint(), path));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(why)]);
    expect(isLedgerLocked(error)).toBe(false);
    // What was there is somebody else's: not a byte of it changes.
    if (before) expect(readFileSync(path).equals(before)).toBe(true);
  });

  it("a path through a file has no directory", async () => {
    const dir = temporaryDirectory();
    writeFileSync(join(dir, "file"), "");
    const error = await refused(newLedger(new Mint(), join(dir, "file", "l.db")));
    expect([error.code, error.message]).toEqual([
      "ledger_unavailable",
      expect.stringMatching(/cannot be reached \(E(NOTDIR|EXIST)\)/),
    ]);
  });
});

describe("a ledger that is damaged", () => {
  it("a page of noise stops it as corrupt, for good", async () => {
    const mint = new Mint({ quota: { perUser: 9, perAd: 9 } });
    const { path } = await newLedger(mint).then((ledger) => {
      ledger.record(0, J0, [mint.checked(0, 1, "ann")]);
      ledger.close();
      return ledger;
    });
    const bytes = readFileSync(path);
    for (let page = 2; page * 4096 < bytes.length; page++) bytes.fill(0xa5, page * 4096, page * 4096 + 64);
    writeFileSync(path, bytes);
    const error = await refused(
      newLedger(mint, path).then((ledger) => ledger.record(0, J0, [mint.checked(0, 2, "bob")])),
    );
    expect([error.code, error.message]).toEqual([
      "corrupt_ledger",
      expect.stringMatching(/is damaged: keep the file.*--replay/),
    ]);
    expect(isLedgerLocked(error)).toBe(false);
  });

  it("an account that a bad tool removed: refused by the rules, nothing of the batch is done", async () => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    tamper(ledger.path, "PRAGMA foreign_keys = OFF; DELETE FROM account WHERE kind = 'escrow'");
    const error = refusal(() => ledger.record(0, J0, [mint.checked(0, 1, "ann")]));
    expect([error.code, error.message]).toEqual(["corrupt_ledger", expect.stringMatching(/reconcile/)]);
    expect(faults(ledger.path).length).toBeGreaterThan(0);
  });
});

describe("a ledger whose file goes away", () => {
  it.each([
    ["removed", (path: string) => renameSync(path, `${path}.away`)],
    [
      "replaced by an older copy",
      (path: string) => {
        copyFileSync(path, `${path}.copy`);
        renameSync(`${path}.copy`, path);
      },
    ],
  ])("%s beneath the worker: refused instead of credited into nowhere", async (_, remove) => {
    const mint = new Mint();
    const ledger = await newLedger(mint);
    ledger.record(0, J0, []);
    remove(ledger.path);
    const error = refusal(() => ledger.record(0, J0, [mint.checked(0, 1, "ann")]));
    expect([error.code, error.message]).toEqual([
      "ledger_unavailable",
      expect.stringMatching(/removed or replaced/),
    ]);
    expect(isLedgerLocked(error)).toBe(false);
  });
});

describe("what an earlier ledger left", () => {
  it.each(["-wal", "-journal"])("a %s beside no ledger is never taken for the new one's", async (suffix) => {
    const mint = new Mint();
    const path = join(temporaryDirectory(), "ledger.db");
    writeFileSync(path + suffix, "the log of another ledger");
    expect(await refused(newLedger(mint, path))).toMatchObject({
      code: "ledger_unavailable",
      message: expect.stringContaining(path + suffix),
    });
    expect(existsSync(path)).toBe(false);
    rmSync(path + suffix);
    (await newLedger(mint, path)).close();
  });

  it("an empty log and its index, as a reader leaves them, are no obstacle to a new one", async () => {
    const mint = new Mint();
    const first = await newLedger(mint);
    first.close();
    reading(first.path, (ledger) => ledger.totals());
    rmSync(first.path);
    const second = await newLedger(mint, first.path);
    expect(second.wasCreated).toBe(true);
    expect(faults(second.path)).toEqual([]);
  });
});

/** Only root can become somebody else, and somebody else must be able to read the built files. */
const canBeNobody =
  process.getuid?.() === 0 &&
  spawnSync(process.execPath, ["--check", CHILD], { uid: NOBODY, gid: NOBODY }).status === 0;
if (!canBeNobody) process.stderr.write("\n!!! no second user here: tests of missing rights SKIPPED !!!\n");

describe.skipIf(!canBeNobody)("a user without rights", () => {
  it("may not write: says so", async () => {
    const dir = temporaryDirectory();
    const mint = new Mint();
    const { path } = await newLedger(mint, join(dir, "l.db")).then((ledger) => {
      ledger.close();
      return ledger;
    });
    chmodSync(dir, 0o755);
    chmodSync(path, 0o444);
    expect(lastLine(asNobody(["record", path, manifestIn(dir, mint)]))).toMatchObject({
      code: "ledger_unavailable",
      message: expect.stringMatching(/who may not write it or its directory/),
    });
    rmSync(path);
    expect(lastLine(asNobody(["record", path, manifestIn(dir, mint)]))).toMatchObject({
      code: "ledger_unavailable",
      message: expect.stringMatching(/cannot be opened: check that this user/),
    });
  });

  it("finance needs no right to write while a worker runs; afterwards SQLite wants its log, or a copy", async () => {
    const dir = temporaryDirectory();
    const mint = new Mint();
    const ledger = await newLedger(mint, join(dir, "l.db"));
    ledger.record(0, J0, [mint.checked(0, 1, "ann")]);
    // Only the owner and the group may read a ledger; here finance is given that right.
    for (const suffix of ["", "-wal", "-shm"]) chmodSync(ledger.path + suffix, 0o644);
    chmodSync(dir, 0o555);
    const total = { packets: 1, cents: mint.cents(1) };
    expect(lastLine(asNobody(["read", ledger.path]))).toEqual({ totals: total, credits: 1 });
    ledger.close();
    expect(lastLine(asNobody(["read", ledger.path]))).toMatchObject({
      code: "ledger_unavailable",
      message: expect.stringMatching(
        /may not write it or its directory: check who owns them, or read a copy/,
      ),
    });
  });
});

describe("a process that dies or starves", () => {
  it("a disk that is full stops it: what was told as created is there, and going on credits nothing twice", async () => {
    const dir = temporaryDirectory();
    const mint = new Mint({ lanePackets: 4000 });
    const path = join(dir, "l.db");
    // The shell's limit on file size stands for the disk: a write beyond it fails in the same place.
    const limited = [
      "-c",
      'ulimit -f 300; exec "$0" "$@"',
      process.execPath,
      CHILD,
      "record",
      path,
      manifestIn(dir, mint),
    ];
    const lines = spawnSync("bash", limited, { encoding: "utf8" }).stdout;
    expect(lastLine(lines)).toMatchObject({
      code: "ledger_unavailable",
      message: expect.stringMatching(/could not be read or written|cannot grow/),
    });
    const told = lines.trim().split("\n").length - 1;
    expect(told).toBeGreaterThan(0);
    const { credits } = contents(path);
    expect(credits.length).toBe(told);
    expect(faults(path)).toEqual([]);
  });

  it("kill -9 in the middle of crediting: every answer that was given is in the books, whole", async () => {
    const dir = temporaryDirectory();
    const mint = new Mint({ lanePackets: 4000 });
    const path = join(dir, "l.db");
    let told = 0;
    for (const lines of [40, 90, 25]) {
      told = Math.max(told, await killAfter(lines, path, manifestIn(dir, mint)));
      expect(faults(path)).toEqual([]);
      const serials = contents(path).credits.map(({ serial }) => serial);
      // At most the one whose answer was not printed yet.
      expect(serials.length).toBeGreaterThanOrEqual(told);
      expect(serials).toEqual(serials.map((_, i) => i));
    }
  });
});

function manifestIn(dir: string, mint: Mint): string {
  const path = join(dir, "manifest-file.json");
  if (!existsSync(path))
    writeFileSync(path, JSON.stringify({ manifest: mint.manifest, hash: mint.file.hash }), { mode: 0o644 });
  return path;
}

function asNobody(args: string[]): string {
  return spawnSync(process.execPath, [CHILD, ...args], { uid: NOBODY, gid: NOBODY, encoding: "utf8" }).stdout;
}

function lastLine(lines: string): unknown {
  return JSON.parse(lines.trim().split("\n").at(-1) ?? "null");
}

/** @returns how many credits the child had told of */
async function killAfter(lines: number, path: string, manifest: string): Promise<number> {
  const child: ChildProcess = spawn(process.execPath, [CHILD, "record", path, manifest], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (child.stdout === null) throw new Error("the child has no output");
  let told = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    expect(JSON.parse(line)).toEqual({ created: told });
    if (++told === lines) child.kill("SIGKILL");
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  expect(child.signalCode).toBe("SIGKILL");
  return told;
}
