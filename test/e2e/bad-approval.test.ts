import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAll, run, startNode } from "./cli.ts";
import { expectRefusal, fingerprint, secretsBelow } from "./refusals.ts";
import { campaignText } from "./stage.ts";

/** Live money needs two people: nothing is minted, served, credited or approved with the wrong key, or with one. */
const cwd = mkdtempSync(join(tmpdir(), "bad-approval-"));
const NODE = ["--campaign", "live-gala", "--shard", "0"];
const SIGNED = "seeds/live-gala/e1/manifest.approver.sig";
const QUEUE = { QUEUE_URL: "redis://127.0.0.1:9" };

afterAll(async () => {
  await killAll();
  rmSync(cwd, { recursive: true, force: true });
});

const hongbao = (args: readonly string[], env: Record<string, string> = {}) => run(args, { cwd, env });

async function newKey(role: string, out: string): Promise<string> {
  const ended = await hongbao(["keys", "new", role, "--out", out]);
  expect(ended.code, ended.stderr).toBe(0);
  return ended.stdout.trim();
}

let secrets: string[];
beforeAll(async () => {
  const operator = await newKey("operator", "operator.key");
  const approver = await newKey("approver", "approver.key");
  await newKey("operator", "stranger.key");
  await newKey("approver", "other-approver.key");
  const live = { ...JSON.parse(campaignText("live-gala")), mode: "live", keys: { operator, approver } };
  writeFileSync(join(cwd, "live.json"), JSON.stringify(live));
  writeFileSync(
    join(cwd, "one-key.json"),
    JSON.stringify({ ...live, keys: { operator, approver: operator } }),
  );
  secrets = secretsBelow(cwd);
});

describe("a live campaign is not minted", () => {
  it.concurrent.each([
    [
      "without a key",
      ["live.json"],
      /names its operator's public key: sign with the private one, --key FILE/,
    ],
    [
      "with a stranger's key",
      ["live.json", "--key", "stranger.key"],
      /stranger\.key is not the operator's key of this campaign/,
    ],
    [
      "with the approver's key",
      ["live.json", "--key", "approver.key"],
      /approver\.key is the key of the approver: the operator's is needed/,
    ],
    [
      "with one key for both roles",
      ["one-key.json", "--key", "operator.key"],
      /operator and approver must differ/,
    ],
  ] as const)("%s", async (_fault, args, sentence) => {
    const before = fingerprint(cwd);
    expectRefusal(await hongbao(["generate", ...args]), 2, sentence, secrets);
    expect(fingerprint(cwd)).toEqual(before);
  });
});

describe("a live campaign that only the operator has signed", () => {
  beforeAll(async () => {
    const minted = await hongbao(["generate", "live.json", "--key", "operator.key"]);
    expect(minted.code, minted.stderr).toBe(0);
    secrets = secretsBelow(cwd);
  });

  it.concurrent.each([
    ["served", ["node", ...NODE, "--port", "0"], {}],
    ["credited", ["credit", "--campaign", "live-gala"], QUEUE],
    ["reconciled", ["reconcile", "live-gala"], {}],
    ["brought up", ["up", "live-gala", "--port", "0"], QUEUE],
  ] as const)("is not %s", async (_what, args, env) => {
    const sentence =
      /the manifest is not signed by the approver .*: run `hongbao approve live-gala --key FILE`/;
    expectRefusal(await hongbao(args, { ...env }), 2, sentence, secrets);
  });

  it.concurrent.each([
    [
      "the operator's key",
      "operator.key",
      /operator\.key is the key of the operator: the approver's is needed/,
    ],
    ["another approver's key", "other-approver.key", /is not the approver's key of this campaign/],
    ["a key that is missing", "no.key", /signing key file no\.key does not exist/],
    ["a master key", "keys/live-gala/master.key", /is not a valid signing key file/],
  ] as const)("is not approved with %s", async (_fault, key, sentence) => {
    const before = fingerprint(cwd);
    expectRefusal(await hongbao(["approve", "live-gala", "--key", key]), 2, sentence, secrets);
    expect(fingerprint(cwd)).toEqual(before);
  });

  it("is approved once, by its approver; a second approval overwrites nothing", async () => {
    expect((await hongbao(["approve", "live-gala", "--key", "approver.key"])).code).toBe(0);
    const before = fingerprint(cwd);
    expect(before.has(SIGNED)).toBe(true);
    const again = await hongbao(["approve", "live-gala", "--key", "approver.key"]);
    expectRefusal(again, 2, /manifest\.approver\.sig exists; nothing is ever overwritten/, secrets);
    expect(fingerprint(cwd)).toEqual(before);
  });

  it("is never on air without a signed config", async () => {
    const ended = await hongbao(["node", ...NODE, "--port", "0", "--open-now"]);
    expectRefusal(
      ended,
      2,
      /--open-now is for test campaigns only: push a signed show config instead/,
      secrets,
    );
  });

  it("is served once both have signed", async () => {
    const { node } = await startNode(NODE, { cwd });
    expect(await node.stop()).toBe(0);
    expect((await hongbao(["reconcile", "live-gala"])).code).toBe(0);
  });
});
