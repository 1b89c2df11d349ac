/** The kill itself: at the call that was named, on the side that was named, whichever thread makes it. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { LastCall } from "../../../../scripts/torture/crash/last-call.ts";
import { type Point, Points } from "../../../../scripts/torture/crash/point.ts";

const SCRIPT = `
  import { mkdirSync, openSync, writeSync, fdatasyncSync } from "node:fs";
  import { rename, writeFile } from "node:fs/promises";
  const [dir] = process.argv.slice(1);
  const fd = openSync(dir + "/log", "w");
  for (const line of ["one-", "two-", "three-"]) {
    writeSync(fd, line);
    fdatasyncSync(fd);
  }
  await writeFile(dir + "/.name.0123456789ab.tmp", "whole");
  await rename(dir + "/.name.0123456789ab.tmp", dir + "/name");
  mkdirSync(dir + "/end");
`;

let lastCall: LastCall;
let base: string;
let dir: string;

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "hongbao-last-call-"));
  lastCall = new LastCall(base);
});
afterAll(() => rmSync(base, { recursive: true, force: true }));
beforeEach(() => {
  dir = mkdtempSync(join(base, "run-"));
});

function die(name: string, path: string, nth: number, how: Point["how"]) {
  const { env, life } = lastCall.environment(dir, `${dir}.log`, { call: { name, path }, nth, how });
  const { signal } = spawnSync(process.execPath, ["--input-type=module", "-e", SCRIPT, dir], {
    env: { ...process.env, ...env },
  });
  expect(life().wasKilled).toBe(signal === "SIGKILL");
  return life();
}

const log = () => readFileSync(join(dir, "log"), "utf8");

describe("a last call", () => {
  it.each([
    ["before", "one-"],
    ["half", "one-tw"],
    ["after", "one-two-"],
  ] as const)("%s the second write leaves %s", (how, left) => {
    expect(die("write", "log", 2, how).wasKilled).toBe(true);
    expect(log()).toBe(left);
  });

  it("of another thread, to a file whose name is drawn", () => {
    expect(die("write", ".name.*.tmp", 1, "after").wasKilled).toBe(true);
    expect(readdirSync(dir).sort()).toEqual([".name.0123456789ab.tmp", "log"]);
    rmSync(dir, { recursive: true });
    dir = mkdtempSync(join(base, "run-"));
    expect(die("rename", "name", 1, "after").wasKilled).toBe(true);
    expect(readdirSync(dir).sort()).toEqual(["log", "name"]);
  });

  it("is known to have been one, though another thread called before the signal came", () => {
    const { life } = lastCall.environment(dir, `${dir}.log`);
    writeFileSync(`${dir}.log`, "call\twrite\tlog\nkilled\twrite\tlog\ncall\twrite\tname\n");
    expect(life()).toMatchObject({ wasKilled: true, calls: [{ path: "log" }, { path: "name" }] });
  });

  it("that does not come kills nobody, and everything is noted", () => {
    const { calls, wasKilled } = die("fdatasync", "log", 4, "before");
    expect(wasKilled).toBe(false);
    expect(existsSync(join(dir, "end"))).toBe(true);
    expect(calls.map(({ name, path }) => `${name} ${path}`)).toEqual([
      "open log",
      ...["write log", "fdatasync log", "write log", "fdatasync log", "write log", "fdatasync log"],
      ...["open .name.*.tmp", "write .name.*.tmp", "rename name", "mkdir end"],
    ]);
  });
});

describe("points", () => {
  it("lie on every side of every call, and only new ones are learned", () => {
    const call = { name: "write", path: "log" };
    const points = new Points();
    expect(points.learn([call]).map(({ nth, how }) => `${nth} ${how}`)).toEqual([
      "1 before",
      "1 half",
      "1 after",
    ]);
    expect(points.learn([call, call]).map(({ nth }) => nth)).toEqual([2, 2, 2]);
    expect(points.learn([call])).toEqual([]);
  });
});
