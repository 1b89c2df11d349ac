import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAll, run, start, startNode } from "./cli.ts";
import { expectRefusal, expectTidy } from "./refusals.ts";
import { NODE, Stage, shakeAndOpen } from "./stage.ts";

/** Settings that cannot be meant, directories that cannot be used, and a queue that is not there. */
const SECRET = "hunter2";
const SERVE = ["node", ...NODE, "--port", "0"];
const CREDIT = ["credit", "--campaign", "gala", "--epoch", "1"];
/** Nothing listens there. */
const DEAD_REDIS = `redis://user:${SECRET}@127.0.0.1:9`;
const DEAD_POSTGRES = `postgres://user:${SECRET}@127.0.0.1:9/queue`;

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.play();
  writeFileSync(join(stage.dir, "a-file"), `not a directory, and ${SECRET} is no URL\n`);
});
afterAll(async () => {
  await killAll();
  stage.remove();
});

const ROWS: readonly [
  fault: string,
  args: readonly string[],
  env: Record<string, string>,
  sentence: RegExp,
][] = [
  [
    "PORT that is a word",
    SERVE.slice(0, -2),
    { PORT: "abc" },
    /PORT must be a port from 0 to 65535, not "abc"/,
  ],
  ["PORT that is blank", SERVE.slice(0, -2), { PORT: " " }, /PORT must be a port from 0 to 65535/],
  [
    "a port too few for two nodes",
    ["up", "gala", "--port", "65535"],
    {},
    /2 nodes from port 65535 on need ports above 65535/,
  ],
  ["LOG_LEVEL that does not exist", SERVE, { LOG_LEVEL: "loud" }, /LOG_LEVEL must be one of .*, not "loud"/],
  [
    "QUEUE_URL that is no URL",
    SERVE,
    { QUEUE_URL: SECRET },
    /QUEUE_URL is not usable: it is not a URL\. Write it as redis:/,
  ],
  [
    "QUEUE_URL of another kind",
    CREDIT,
    { QUEUE_URL: `amqp://u:${SECRET}@h` },
    /QUEUE_URL is not usable: it begins with something else/,
  ],
  [
    "QUEUE_URL with a wrong database",
    SERVE,
    { QUEUE_URL: `redis://u:${SECRET}@h/first` },
    /QUEUE_URL is not usable: .* database number/,
  ],
  [
    "QUEUE_URL with a wrong password",
    SERVE,
    { QUEUE_URL: `redis://:${SECRET}%zz@h` },
    /QUEUE_URL is not usable: .* percent-encoded/,
  ],
  [
    "QUEUE_URL given twice",
    SERVE,
    { QUEUE_URL: DEAD_REDIS, QUEUE_URL_FILE: "a-file" },
    /QUEUE_URL and QUEUE_URL_FILE are both set: set one of them/,
  ],
  [
    "QUEUE_URL_FILE that is missing",
    SERVE,
    { QUEUE_URL_FILE: "nowhere" },
    /QUEUE_URL_FILE names nowhere, which does not exist/,
  ],
  [
    "QUEUE_URL_FILE without an end",
    SERVE,
    { QUEUE_URL_FILE: "/dev/zero" },
    /QUEUE_URL_FILE names \/dev\/zero, which is too long/,
  ],
  [
    "QUEUE_URL_FILE with something else",
    CREDIT,
    { QUEUE_URL_FILE: "a-file" },
    /QUEUE_URL is not usable: it is not a URL/,
  ],
  [
    "SEEDS_DIR below a file",
    ["generate", "gala.json"],
    { SEEDS_DIR: "a-file/x" },
    /a-file cannot be a directory, a file is in the way .* SEEDS_DIR, KEYS_DIR and DATA_DIR/,
  ],
  [
    "SEEDS_DIR that takes no entry",
    ["generate", "gala.json"],
    { SEEDS_DIR: "/proc/x" },
    /\/proc\/x cannot be used/,
  ],
  [
    "SEEDS_DIR without the campaign",
    SERVE,
    { SEEDS_DIR: "a-file" },
    /campaign gala has no complete epoch 1 under .*: run `hongbao generate` first, or set SEEDS_DIR/,
  ],
  [
    "KEYS_DIR without the keys",
    SERVE,
    { KEYS_DIR: "a-file" },
    /node-0000\.key does not exist: .* check KEYS_DIR/,
  ],
  [
    "DATA_DIR below a file",
    SERVE,
    { DATA_DIR: "a-file/x" },
    /a-file cannot be a directory, a file is in the way/,
  ],
  [
    "DATA_DIR of a demo below a file",
    ["demo", "--packets", "10"],
    { DATA_DIR: "a-file/x" },
    /a-file cannot be a directory/,
  ],
  [
    "a key's place below a file",
    ["keys", "new", "operator", "--out", "a-file/op.key"],
    {},
    /a-file cannot be a directory/,
  ],
  [
    "a key's place that is taken",
    ["keys", "new", "operator", "--out", "a-file"],
    {},
    /a-file exists; nothing is ever overwritten/,
  ],
];

describe.concurrent("a program refuses", () => {
  it.each(ROWS)("%s", async (_fault, args, env, sentence) => {
    const ended = await run(args, { cwd: stage.dir, env });
    expectRefusal(ended, 2, sentence, [SECRET, ...stage.secrets]);
  });

  it("an embedded queue that nobody hosts", async () => {
    const ended = await run(SERVE, { cwd: stage.scene().dir, env: { HONGBAO_EMBEDDED_QUEUE: "1" } });
    expectRefusal(ended, 1, /start it through `hongbao up` or `hongbao demo`, or set QUEUE_URL/);
  });

  it("the owner's journal to be elsewhere", async () => {
    const ended = await run(SERVE, { cwd: stage.dir, env: { DATA_DIR: "elsewhere" } });
    expectRefusal(ended, 1, /start the node with the DATA_DIR that holds that journal/);
  });
});

describe.concurrent("a queue that is not there", () => {
  it.each([
    ["Redis", DEAD_REDIS],
    ["PostgreSQL", DEAD_POSTGRES],
  ])("%s: the node serves and warns, and stops cleanly", async (_name, url) => {
    const scene = stage.scene();
    const { node, url: base } = await startNode([...NODE, "--open-now"], {
      cwd: scene.dir,
      env: { QUEUE_URL: url },
    });
    await node.waitFor(/cannot be used now .*Claims stay in the journal and will be sent/);
    await shakeAndOpen(base, "somebody-new");
    expect(await node.stop()).toBe(0);
    expectTidy(node, [SECRET, ...stage.secrets]);
    await scene.expectNothingLost({ opened: 1 });
  });

  it.each([
    ["Redis", DEAD_REDIS],
    ["PostgreSQL", DEAD_POSTGRES],
  ])("%s: the worker waits, and stops cleanly", async (_name, url) => {
    const scene = stage.scene();
    const worker = start(CREDIT, { cwd: scene.dir, env: { QUEUE_URL: url } });
    await worker.waitFor(/cannot be used now .*trying again/);
    expect(await worker.stop()).toBe(0);
    expectTidy(worker, [SECRET, ...stage.secrets]);
    await scene.expectNothingLost();
  });
});

describe.concurrent("the doctor", () => {
  const doctor = async (env: Record<string, string>) => {
    const ended = await run(["doctor", "--json"], { cwd: stage.dir, env });
    expectTidy(ended, [SECRET, ...stage.secrets]);
    const findings = JSON.parse(ended.stdout) as { check: string; ok: boolean; detail: string }[];
    return { code: ended.code, ill: findings.filter(({ ok }) => !ok) };
  };

  it("finds this machine fit", async () => {
    expect(await doctor({})).toEqual({ code: 0, ill: [] });
  });

  it("says what is wrong with every setting at once", async () => {
    const { code, ill } = await doctor({
      PORT: "abc",
      QUEUE_URL: SECRET,
      LEDGER_URL: `mysql://u:${SECRET}@h`,
      DATA_DIR: "a-file/x",
    });
    expect(code).toBe(1);
    expect(ill.map(({ check }) => check)).toEqual(["settings", "queue", "ledgers", "free disk"]);
    expect(ill.map(({ detail }) => detail).join("\n")).toMatch(
      /PORT must be .*\nQUEUE_URL is not usable: .*\nLEDGER_URL is not usable: .*\n.*a-file is not a directory: set DATA_DIR right/,
    );
  });

  it("finds a queue that is not there, a key that others may read and a ledger that is none", async () => {
    const scene = stage.scene();
    scene.write("data/gala/ledger.db", "no ledger");
    writeFileSync(scene.at("keys/open.key"), "{}", { mode: 0o644 });
    const ended = await run(["doctor", "--json"], { cwd: scene.dir, env: { QUEUE_URL: DEAD_REDIS } });
    expectTidy(ended, [SECRET, ...stage.secrets]);
    expect(ended.code).toBe(1);
    expect(ended.stdout).toMatch(/redis:\/\/127\.0\.0\.1:9.*: start it, or set QUEUE_URL right/);
    expect(ended.stdout).toMatch(/ledger\.db is not a SQLite database/);
    expect(ended.stdout).toMatch(/open\.key has mode 0644: run `chmod 0400/);
  });
});
