import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { killAll, run } from "./cli.ts";
import { expectRefusal, expectTidy } from "./refusals.ts";

/** Arguments that nobody means: each is refused before anything is read or written. */
const cwd = mkdtempSync(join(tmpdir(), "bad-arguments-"));
writeFileSync(join(cwd, "a-file"), "not a directory\n");
const NODE = ["node", "--campaign", "gala", "--shard", "0"];
const PUSH = ["--campaign", "gala", "--node", "http://127.0.0.1:9"];

afterAll(async () => {
  await killAll();
  rmSync(cwd, { recursive: true, force: true });
});

const ROWS: readonly [fault: string, args: readonly string[], sentence: RegExp][] = [
  ["no command", [], /name a command: `hongbao --help`/],
  ["an unknown command", ["mint"], /there is no command "mint": `hongbao --help`/],
  ["a command's name with a control character", ["\u001b[31mmint"], /there is no command "\ufffd\[31mmint"/],
  [
    "an unknown flag",
    ["generate", "x.json", "--force"],
    /unknown argument: force: see `hongbao generate --help`/,
  ],
  ["an argument too many", ["reconcile", "gala", "other"], /unknown argument: other/],
  ["no campaign file", ["generate"], /an argument is missing, write `hongbao generate <file>`/],
  ["no key to approve with", ["approve", "gala"], /missing required argument: key/],
  ["no campaign and no shard", ["node"], /missing required arguments: campaign, shard/],
  ["a flag without its value at the end", [...NODE, "--port"], /--port needs a value/],
  [
    "a flag without its value before a flag",
    ["node", "--campaign", "--shard", "0"],
    /--campaign needs a value/,
  ],
  ["a directory without its value", ["--data-dir", "--keys-dir", "k", "doctor"], /--data-dir needs a value/],
  ["an empty value", ["node", "--campaign", "gala", "--shard", ""], /--shard needs a value/],
  ["an empty argument", ["inspect", ""], /an argument is empty: is a shell variable not set/],
  ["a flag twice", [...NODE, "--shard", "1"], /--shard is given twice/],
  ["a shard that is a word", ["node", "--campaign", "gala", "--shard", "first"], /--shard must be a number/],
  ["a port above 65535", [...NODE, "--port", "70000"], /--port must be a port from 0 to 65535, not "70000"/],
  ["an epoch that is a word", [...NODE, "--epoch", "last"], /--epoch must be a number/],
  ["no workers", ["generate", "a-file", "--workers", "0"], /--workers must be a whole number from 1 to 64/],
  [
    "a rate of nothing",
    ["credit", "--campaign", "gala", "--rate", "0"],
    /--rate must be a number of credits a second above 0/,
  ],
  ["an endless rate", ["up", "gala", "--rate", "Infinity"], /--rate must be a number of credits/],
  ["a campaign that is a path", ["reconcile", "../gala"], /"\.\.\/gala" is no campaign's name/],
  [
    "a campaign that nobody minted",
    NODE,
    /campaign gala has no complete epoch under .*run `hongbao generate` first, or set SEEDS_DIR/,
  ],
  [
    "a wrong log level",
    [...NODE, "--log-level", "loud"],
    /LOG_LEVEL must be one of trace, debug, .*, not "loud"/,
  ],
  ["a wrong action on keys", ["keys", "old", "operator", "--out", "k"], /Given: "old", Choices: "new"/],
  [
    "a role that does not exist",
    ["keys", "new", "boss", "--out", "k"],
    /Given: "boss", Choices: "operator", "approver"/,
  ],
  ["a key without a place", ["keys", "new", "operator"], /missing required argument: out/],
  ["journals without a place", ["reconcile", "gala", "--journals"], /--journals needs a value/],
  ["a replay without journals", ["credit", "--campaign", "gala", "--replay"], /--replay needs a value/],
  [
    "no queue to credit from",
    ["credit", "--campaign", "gala"],
    /QUEUE_URL is not set.*or give journals with --replay/,
  ],
  [
    "a wrong action on the show",
    ["show", "start"],
    /Given: "start", Choices: "set", "shift", "stop", "status"/,
  ],
  ["a show without nodes", ["show", "status"], /name the nodes with --node URL/],
  [
    "a show without a campaign",
    ["show", "stop", "--node", "http://127.0.0.1:9"],
    /name the campaign with --campaign/,
  ],
  [
    "a node that is no URL",
    ["show", "status", "--node", "localhost:8080"],
    /--node localhost:8080 is not a URL such as/,
  ],
  [
    "a node with a password",
    ["show", "status", "--node", "http://u:hunter2@x"],
    /--node with a user or password is not a URL/,
  ],
  ["a show config without a file", ["show", "set", ...PUSH], /name the show config: `hongbao show set FILE`/],
  ["a shift without seconds", ["show", "shift", ...PUSH], /say by how many seconds/],
  ["a shift by an age", ["show", "shift", "99999999999999", ...PUSH], /at most a year of them/],
  ["a demo of nothing", ["demo", "--packets", "0"], /--packets must be a whole number from 10 to 1000000/],
  ["rubbish for a token", ["inspect", "rubbish"], /this is not a token: a token is 60 characters/],
  ["a token with a foreign letter", ["inspect", `Ü${"E".repeat(59)}`], /this is not a token/],
];

describe.concurrent("arguments that nobody means", () => {
  it.each(ROWS)("%s", async (_fault, args, sentence) => {
    expectRefusal(await run(args, { cwd }), 2, sentence, ["hunter2"]);
  });

  it("with --json, the refusal is also a document on stdout", async () => {
    const ended = await run(["generate", "a-file", "--workers", "0", "--json"], { cwd });
    expectRefusal(ended, 2, /--workers/);
    expect(JSON.parse(ended.stdout).error).toEqual({
      code: "usage",
      message: "--workers must be a whole number from 1 to 64",
    });
  });

  it("an answer that stdout cannot take is a failure", async () => {
    if (!existsSync("/dev/full")) return;
    const ended = await run(["doctor"], { cwd, stdoutTo: "/dev/full" });
    expectRefusal(ended, 1, /the answer could not be written to stdout: ENOSPC/);
  });

  it("help is an answer, and lists the exit codes", async () => {
    const ended = await run(["--help"], { cwd });
    expectTidy(ended);
    expect(ended.code).toBe(0);
    expect(ended.stdout).toContain(
      "Exit codes: 0 ok, 1 failed, 2 usage or invalid input, 3 the books do not balance.",
    );
  });
});

describe("after all of them", () => {
  it("nothing was written", () => {
    expect(readdirSync(cwd)).toEqual(["a-file"]);
  });
});
