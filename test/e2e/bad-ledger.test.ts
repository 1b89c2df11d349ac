import { mkdirSync } from "node:fs";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAll, run } from "./cli.ts";
import { expectRefusal, expectTidy } from "./refusals.ts";
import { JOURNAL, KEYS, LEDGER, RECONCILE, REPLAY, type Scene, Stage } from "./stage.ts";

/**
 * Ledgers and settlement keys that are missing, damaged, locked or another mint's: the worker stops before it
 * credits anything, finance refuses or reports, and no ledger is written over.
 */
const SETTLEMENT = `${KEYS}/settlement.key`;
const SECRET = "hunter2";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.play();
});
afterAll(async () => {
  await killAll();
  stage.remove();
});

const ADDRESSES: readonly [fault: string, url: string, sentence: RegExp][] = [
  [
    "another database's address",
    `mysql://u:${SECRET}@h/db`,
    /LEDGER_URL is not usable: .* Write it as a path such as/,
  ],
  [
    "a server that is not supported yet",
    `postgres://u:${SECRET}@h/db`,
    /LEDGER_URL names a PostgreSQL server, but .* Give the path of a SQLite file/,
  ],
  ["no file", "ledgers/", /LEDGER_URL is not usable: it names no file/],
  ["memory", ":memory:", /LEDGER_URL is not usable: books must lie in a file, not in memory/],
];

describe.concurrent("LEDGER_URL that is", () => {
  it.each(ADDRESSES)("%s is refused, and not repeated", async (_fault, url, sentence) => {
    const options = { cwd: stage.dir, env: { LEDGER_URL: url } };
    expectRefusal(await run(REPLAY, options), 2, sentence, [SECRET]);
  });

  it("of no use is refused by worker and finance alike", async () => {
    const env = { LEDGER_URL: `mysql://u:${SECRET}@h`, QUEUE_URL: "redis://127.0.0.1:9" };
    for (const args of [REPLAY.slice(0, -2), RECONCILE])
      expectRefusal(await run(args, { cwd: stage.dir, env }), 2, /LEDGER_URL is not usable/, [SECRET]);
  });
});

interface Row {
  readonly fault: string;
  readonly spoil: (scene: Scene) => void;
  readonly env?: Record<string, string>;
  readonly replay: RegExp;
  /** Finance's refusal, or (exit 3) the detail of its finding. */
  readonly refused?: RegExp;
  /** Exit code of the refusals: 2 for what can only be a wrong address. */
  readonly code: 1 | 2;
  readonly found?: RegExp;
}

const LEDGERS: readonly Row[] = [
  {
    fault: "text",
    spoil: (s) => s.write(LEDGER, "these are not the books you are looking for\n".repeat(99)),
    replay: /ledger\.db is not a SQLite database: set LEDGER_URL to another file, or restore a copy/,
    found: /is not a SQLite database/,
    code: 1,
  },
  {
    fault: "cut off",
    spoil: (s) => s.cut(LEDGER, 20_000),
    replay:
      /ledger\.db is damaged: keep the file, restore a copy or start a new one, then run `hongbao credit --replay`/,
    found: /is damaged/,
    code: 1,
  },
  {
    fault: "damaged inside",
    spoil: (s) => {
      const bytes = s.read(LEDGER);
      s.write(LEDGER, bytes.fill(0x55, 4096, 9000));
    },
    replay: /ledger\.db (is damaged|cannot be used).*restore a copy/,
    found: /ledger\.db/,
    code: 1,
  },
  {
    fault: "another program's",
    spoil: (s) => {
      s.remove(LEDGER);
      const db = new Database(s.at(LEDGER));
      db.exec("CREATE TABLE recipes (dish TEXT)");
      db.close();
    },
    replay: /ledger\.db is the database of another program, not a ledger: set LEDGER_URL to another file/,
    refused: /is the database of another program, not a ledger/,
    code: 2,
  },
  {
    fault: "a directory",
    spoil: (s) => {
      s.remove(LEDGER);
      mkdirSync(s.at(LEDGER));
    },
    replay: /ledger\.db is a directory: give the path of a file/,
    refused: /the ledger .*ledger\.db/,
    code: 1,
  },
  {
    fault: "of another campaign",
    spoil: () => {},
    env: { LEDGER_URL: "other.db" },
    replay:
      /the ledger .*other\.db keeps the books of campaign other \(TEST\), epoch 1, not campaign gala .*: name that campaign and epoch, or set LEDGER_URL to a new file/,
    refused: /keeps the books of campaign other/,
    code: 2,
  },
];

describe.concurrent("a ledger that is", () => {
  it.each(LEDGERS)("$fault", async ({ spoil, env = {}, replay, refused, found, code }) => {
    const scene = stage.scene();
    const options = { cwd: scene.dir, env };
    if (env["LEDGER_URL"]) {
      const other = ["credit", "--campaign", "other", "--replay", JOURNAL];
      expectRefusal(await run(other, options), 2, /is the journal of shard 0, epoch 1 of another campaign/);
    }
    spoil(scene);
    const before = scene.fingerprint();
    expectRefusal(await run(REPLAY, options), code, replay, stage.secrets);
    const reconciled = await run(RECONCILE, options);
    if (refused) expectRefusal(reconciled, code, refused, stage.secrets);
    else {
      expectTidy(reconciled, stage.secrets);
      expect(reconciled.code).toBe(3);
      expect(JSON.parse(reconciled.stdout).findings[0]).toMatchObject({
        detail: expect.stringMatching(found ?? /^$/),
      });
    }
    expect(scene.fingerprint()).toEqual(before);
    scene.restore();
    for (const [path, hash] of stage.fingerprint)
      expect([path, scene.fingerprint().get(path)]).toEqual([path, hash]);
  });

  it("missing is rebuilt from the journals", async () => {
    const scene = stage.scene();
    scene.remove(LEDGER);
    const replayed = await run(REPLAY, { cwd: scene.dir });
    expect(replayed.stdout).toContain("3 created");
    await scene.expectNothingLost();
  });

  it("locked is waited for, then refused; freed, it takes the claims", async () => {
    const scene = stage.scene();
    const holder = new Database(scene.at(LEDGER));
    holder.pragma("locking_mode = EXCLUSIVE");
    holder.exec("BEGIN EXCLUSIVE");
    const [replayed, reconciled] = await Promise.all([
      run(REPLAY, { cwd: scene.dir, idle: true }),
      run(RECONCILE, { cwd: scene.dir, idle: true }),
    ]);
    expectRefusal(replayed, 1, /ledger\.db is locked by another program: end its transaction/, stage.secrets);
    expectRefusal(reconciled, 1, /ledger\.db is locked by another program/, stage.secrets);
    holder.exec("ROLLBACK");
    holder.close();
    expect((await run(REPLAY, { cwd: scene.dir })).stdout).toContain("0 created, 3 exists");
    await scene.expectNothingLost();
  });
});

type KeyRow = readonly [
  fault: string,
  args: readonly string[],
  spoil: (scene: Scene) => void,
  sentence: RegExp,
];
const KEY_ROWS: readonly KeyRow[] = [
  [
    "missing",
    REPLAY,
    (s) => s.remove(SETTLEMENT),
    /the settlement key file .*settlement\.key does not exist: .* check KEYS_DIR/,
  ],
  ["missing to finance", RECONCILE, (s) => s.remove(SETTLEMENT), /the settlement key file .* does not exist/],
  [
    "the next epoch's",
    REPLAY,
    (s) => s.copy("keys/gala/e2/settlement.key", SETTLEMENT),
    /settlement\.key .*gala.*epoch 2/,
  ],
  [
    "another campaign's",
    RECONCILE,
    (s) => s.copy("keys/other/e1/settlement.key", SETTLEMENT),
    /settlement\.key .*other.*epoch 1/,
  ],
  [
    "a node's key",
    REPLAY,
    (s) => s.copy(`${KEYS}/node-0000.key`, SETTLEMENT),
    /is not a valid settlement key file .*: install the right one/,
  ],
  [
    "flipped in its key",
    REPLAY,
    (s) => s.replace(SETTLEMENT, /"settlementKey":"[\w-]{43}"/, `"settlementKey":"${"B".repeat(42)}A"`),
    /settlement\.key is damaged, its check does not hold: install the settlement key file again/,
  ],
  [
    "cut off",
    RECONCILE,
    (s) => s.cut(SETTLEMENT, 99),
    /is not a settlement key file, it is not JSON: install it again/,
  ],
];

describe.concurrent("a settlement key that is", () => {
  it.each(KEY_ROWS)("%s is refused", async (_fault, args, spoil, sentence) => {
    const scene = stage.scene();
    spoil(scene);
    const before = scene.fingerprint();
    expectRefusal(await run(args, { cwd: scene.dir }), 2, sentence, stage.secrets);
    expect(scene.fingerprint()).toEqual(before);
    scene.restore();
    expect(scene.fingerprint()).toEqual(stage.fingerprint);
  });
});

describe.concurrent("finance refuses", () => {
  it.each([
    [
      "journals that are nowhere",
      [...RECONCILE, "--journals", "nowhere"],
      /the directory of journals nowhere does not exist/,
    ],
    [
      "an epoch that was not minted",
      ["reconcile", "gala", "--epoch", "9"],
      /campaign gala has no complete epoch 9 under/,
    ],
    [
      "a page below a file",
      [...RECONCILE, "--html", "gala.json/page.html"],
      /page\.html cannot be a directory, a file is in the way/,
    ],
    [
      "a page where no directory is",
      [...RECONCILE, "--html", "nowhere/page.html"],
      /nowhere\/page\.html cannot be used, its directory does not exist/,
    ],
    [
      "tables in a file",
      [...RECONCILE, "--csv", "gala.json"],
      /gala\.json cannot be a directory, a file is in the way/,
    ],
  ] as const)("%s", async (_fault, args, sentence) => {
    const before = stage.fingerprint;
    expectRefusal(await run(args, { cwd: stage.dir }), 2, sentence, stage.secrets);
    expect(stage.scene().fingerprint()).toEqual(before);
  });

  it("to call a missing journal nothing", async () => {
    const reconciled = await run(RECONCILE, {
      cwd: stage.dir,
      env: { DATA_DIR: "elsewhere", LEDGER_URL: LEDGER },
    });
    expect(reconciled.code).toBe(3);
    expect(JSON.parse(reconciled.stdout).findings[0]).toMatchObject({ class: "missing-journal" });
  });
});
