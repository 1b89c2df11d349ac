import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Daemon, type Ended, killAll, run, startNode } from "./cli.ts";
import { expectRefusal, expectTidy } from "./refusals.ts";
import { NODE, type Scene, Stage } from "./stage.ts";

/**
 * An operator under stress: wrong files, wrong keys, versions from yesterday, nodes that do not answer. Whatever is
 * tried, the node keeps the last config that was right, and the emergency stop still stops it.
 */
const NOWHERE = "http://127.0.0.1:9";

let stage: Stage;
let scene: Scene;
let node: Daemon;
let url: string;
let files = 0;

beforeAll(async () => {
  stage = await Stage.play();
  scene = stage.scene();
  ({ node, url } = await startNode(NODE, { cwd: scene.dir }));
  expect((await run(["keys", "new", "operator", "--out", "stranger.key"], { cwd: scene.dir })).code).toBe(0);
  expect((await run(["keys", "new", "approver", "--out", "approver.key"], { cwd: scene.dir })).code).toBe(0);
});
afterAll(async () => {
  expect(await node.stop()).toBe(0);
  expectTidy(node, stage.secrets);
  await killAll();
  stage.remove();
});

function round(more: object = {}): object {
  return { id: "r1", opensAt: "2039-01-01T00:00:00Z", closesAt: "2039-01-02T00:00:00Z", ads: [1], ...more };
}

function config(version: number, more: object = {}): string {
  return JSON.stringify({ campaign: "gala", version, rounds: [round()], ...more });
}

/** Writes a show config and pushes it. */
async function set(text: string, args: string[] = [], env: Record<string, string> = {}): Promise<Ended> {
  const file = `show-${++files}.json`;
  writeFileSync(scene.at(file), text);
  const target = args.includes("--node") ? [] : ["--node", url];
  const campaign = args.includes("--campaign") ? [] : ["--campaign", "gala"];
  return await run(["show", "set", file, ...campaign, ...target, ...args], { cwd: scene.dir, env });
}

async function onAir(): Promise<unknown> {
  return await (await fetch(new URL("/v1/show", url))).json();
}

describe("before anything was set", () => {
  it("there is nothing to shift", async () => {
    const ended = await run(["show", "shift", "30", "--campaign", "gala", "--node", url], { cwd: scene.dir });
    expectRefusal(ended, 2, /no show config was set from here yet .*: run `hongbao show set FILE` first/);
  });
});

describe.concurrent("show set refuses", () => {
  it.each([
    ["no JSON", "campaign: gala", [], /the show config is not JSON/],
    [
      "a campaign file",
      JSON.stringify({ campaign: "gala", packets: 1 }),
      [],
      /version: is missing; rounds: is missing; Unrecognized key: "packets": remove it/,
    ],
    [
      "a round that ends before it begins",
      config(1, { rounds: [round({ closesAt: "2038-01-01T00:00:00Z" })] }),
      [],
      /closesAt must be after opensAt/,
    ],
    [
      "a time that is none",
      config(1, { rounds: [round({ opensAt: "tonight" })] }),
      [],
      /rounds\.0\.opensAt: must be a time such as/,
    ],
    [
      "another campaign's config",
      config(1),
      ["--campaign", "other"],
      /the show config is for campaign gala, not other/,
    ],
    ["a key that is missing", config(1), ["--key", "no.key"], /signing key file no\.key does not exist/],
    [
      "a key of another kind",
      config(1),
      ["--key", "keys/gala/master.key"],
      /master\.key is not a valid signing key file/,
    ],
    [
      "the approver's key",
      config(1),
      ["--key", "approver.key"],
      /a show config is signed by the operator; this key file is the approver's/,
    ],
  ] as const)("%s", async (_fault, text, args, sentence) => {
    expectRefusal(await set(text, [...args]), 2, sentence, stage.secrets);
    expect(await onAir()).toMatchObject({ version: null });
  });

  it("a file that is missing, a directory, or no text", async () => {
    const push = (file: string) =>
      run(["show", "set", file, "--campaign", "gala", "--node", url], { cwd: scene.dir });
    expectRefusal(await push("nowhere.json"), 2, /the show config nowhere\.json does not exist/);
    expectRefusal(await push("."), 2, /the show config \. is a directory/);
    expectRefusal(await push("seeds/gala/e1/shard-0000.seed"), 2, /is not a show config: it is not text/);
  });
});

describe("a node refuses", () => {
  /** What the operator reads: the node's own reason, and one sentence of ours. */
  function expectMissed(ended: Ended, reason: RegExp, outOf = 1): void {
    expectRefusal(ended, 1, new RegExp(`1 of ${outOf} nodes did not take version`), stage.secrets);
    expect(ended.stdout).toMatch(reason);
  }

  it("a stranger's signature", async () => {
    const elsewhere = { DATA_DIR: "operator-2" };
    expectMissed(
      await set(config(1), ["--key", "stranger.key"], elsewhere),
      /refused: .*not signed by the operator/,
    );
  });

  it("an ad that the campaign does not have", async () => {
    const elsewhere = { DATA_DIR: "operator-3" };
    expectMissed(await set(config(1, { rounds: [round({ ads: [77] })] }), [], elsewhere), /refused: .*ad 77/);
    expect(await onAir()).toMatchObject({ version: null });
  });

  it("nothing that is right, and a second node that does not answer is named", async () => {
    const both = ["--node", url, "--node", NOWHERE];
    const ended = await set(config(5), both);
    expectMissed(ended, /127\.0\.0\.1:9 {2}unreachable: /, 2);
    expect(ended.stdout).toContain(`${url}  taken`);
    expect(await onAir()).toMatchObject({ version: 5, state: "countdown" });
    const status = await run(["show", "status", ...both], { cwd: scene.dir });
    expectRefusal(status, 1, /1 of 2 nodes did not answer: check that they run, and their URLs/);
  });

  it("an old version from another operator's desk", async () => {
    expectMissed(await set(config(4), [], { DATA_DIR: "operator-4" }), /not-newer/);
    expect(await onAir()).toMatchObject({ version: 5 });
  });
});

describe("an old version from the same desk", () => {
  it("is refused before it is sent, and shift and stop still count on from the newest", async () => {
    expectRefusal(
      await set(config(3)),
      2,
      /version 3, and version 5 was set from here before: give it a version above 5/,
    );
    expectRefusal(await set(config(5, { stop: true })), 2, /give it a version above 5/);
    const go = async (...action: string[]) => {
      const ended = await run(["show", ...action, "--campaign", "gala", "--node", url, "--json"], {
        cwd: scene.dir,
      });
      expect(ended.code, ended.stderr).toBe(0);
    };
    await go("shift", "-60");
    expect(await onAir()).toMatchObject({ version: 6, startsAt: "2038-12-31T23:59:00.000Z" });
    await go("stop");
    expect(await onAir()).toMatchObject({ version: 7, state: "stopped" });
  });

  it("a damaged record hinders no stop, is named by a shift, and is mended by the next set", async () => {
    const push = (...action: string[]) =>
      run(["show", ...action, "--campaign", "gala", "--node", url], { cwd: scene.dir });
    scene.write("data/gala/show.json", "{");
    expectRefusal(
      await push("shift", "1"),
      2,
      /the last show config .*show\.json is damaged: set one with a higher version/,
    );
    expect((await push("stop")).code).toBe(0);
    expect(await onAir()).toMatchObject({ version: 8, state: "stopped" });
    scene.write("data/gala/show.json", "{");
    const mended = await set(config(9));
    expect(mended.code, mended.stderr).toBe(0);
    expect(await onAir()).toMatchObject({ version: 9 });
  });
});

describe("a node with a damaged show config of its own", () => {
  it("does not serve, and says what to do", async () => {
    const spoiled = stage.scene();
    const own = "data/gala/e1/node-0000/show.json";
    for (const text of [
      "{",
      JSON.stringify({ show: config(1), signatures: [{ role: "operator", sig: "A" }] }),
    ]) {
      spoiled.write(own, text);
      const ended = await run(["node", ...NODE, "--port", "0"], { cwd: spoiled.dir });
      expectRefusal(
        ended,
        2,
        /show config .*show\.json is (damaged|not signed by the operator).*: remove it and push the show config again/,
      );
    }
    spoiled.restore();
    await spoiled.expectNothingLost();
  });
});

describe.concurrent("inspect", () => {
  const inspect = (token: string, env: Record<string, string> = {}) =>
    run(["inspect", token, "--json"], { cwd: stage.dir, env });

  it("opens a genuine token, and calls one with a flipped bit invalid, with exit code 1", async () => {
    const genuine = await inspect(stage.token);
    expect([genuine.code, JSON.parse(genuine.stdout).verdict]).toEqual([0, "genuine"]);
    const flipped = `${stage.token.slice(0, 40)}${stage.token[40] === "A" ? "B" : "A"}${stage.token.slice(41)}`;
    const invalid = await inspect(flipped);
    expectTidy(invalid, stage.secrets);
    expect([invalid.code, JSON.parse(invalid.stdout).verdict]).toEqual([1, "invalid"]);
    expect(invalid.stdout).not.toContain("cents");
  });

  it("tells no more than the token says where the keys are not, or the campaign is not known", async () => {
    for (const env of [{ KEYS_DIR: "nowhere" }, { SEEDS_DIR: "nowhere" }, { SEEDS_DIR: "gala.json" }]) {
      const sealed = await inspect(stage.token, env);
      expect([sealed.code, JSON.parse(sealed.stdout).verdict]).toEqual([0, "sealed"]);
    }
  });
});
