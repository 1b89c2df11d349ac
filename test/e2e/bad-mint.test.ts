import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { killAll, run, start } from "./cli.ts";
import { expectRefusal, fingerprint, secretsBelow } from "./refusals.ts";
import { campaignText } from "./stage.ts";

const strays = mkdtempSync(join(tmpdir(), "bad-campaign-files-"));

/** Campaign files that are none, and mints that must not touch what was minted before. */
const cwd = mkdtempSync(join(tmpdir(), "bad-mint-"));
afterAll(async () => {
  await killAll();
  for (const dir of [cwd, strays]) rmSync(dir, { recursive: true, force: true });
});

const FILES: readonly [fault: string, make: (path: string) => void, sentence: RegExp][] = [
  ["missing", () => {}, /the campaign file .* does not exist: check the path/],
  ["empty", (path) => writeFileSync(path, ""), /the campaign file is not JSON/],
  ["not JSON", (path) => writeFileSync(path, "campaign: gala\n"), /the campaign file is not JSON/],
  [
    "JSON with a comma too many",
    (path) => writeFileSync(path, campaignText("gala").replace("}]", "},]")),
    /the campaign file is not JSON/,
  ],
  ["a list", (path) => writeFileSync(path, "[]"), /expected object, received array/],
  [
    "binary",
    (path) => writeFileSync(path, Buffer.alloc(999, 0xfe)),
    /is not a campaign file: it is not text in UTF-8/,
  ],
  [
    "huge",
    (path) => {
      writeFileSync(path, "");
      truncateSync(path, 2 ** 32);
    },
    /has more than 16777216 bytes/,
  ],
];

describe.concurrent("generate refuses a file that is", () => {
  it.each(FILES)("%s", async (fault, make, sentence) => {
    const path = join(strays, `${fault.replaceAll(/\W/g, "-")}.json`);
    make(path);
    expectRefusal(await run(["generate", path], { cwd }), 2, sentence);
  });

  it("a directory, or a device without an end", async () => {
    expectRefusal(await run(["generate", "."], { cwd }), 2, /is a directory where a file is needed/);
    expectRefusal(await run(["generate", "/dev/zero"], { cwd }), 2, /has more than 16777216 bytes/);
  });
});

describe("a campaign that is minted again", () => {
  const generate = (...args: string[]) => run(["generate", ...args], { cwd });

  it("becomes a new epoch, and of the first one not a byte changes", async () => {
    // As an editor on Windows saves it.
    writeFileSync(join(cwd, "good.json"), `\ufeff${campaignText("gala")}`);
    expect((await generate("good.json")).code).toBe(0);
    const first = fingerprint(cwd);
    const again = await generate("good.json", "--json");
    expect(JSON.parse(again.stdout)).toMatchObject({ epoch: 2, alreadyComplete: false });
    const second = fingerprint(cwd);
    for (const [path, hash] of first) expect([path, second.get(path)]).toEqual([path, hash]);
  });

  it("is not resumed with another campaign file, with a foreign key, or under another mode", async () => {
    const before = fingerprint(cwd);
    const secrets = secretsBelow(cwd);
    const spoiled = (name: string, what: string, by: string) => {
      const text = campaignText("gala").replace(what, by);
      writeFileSync(join(cwd, name), text);
    };
    spoiled("other.json", "4000", "4001");
    expectRefusal(
      await generate("other.json", "--resume"),
      2,
      /epoch 2 was minted from another campaign file .*: resume with that file, or run without --resume/,
      secrets,
    );
    expectRefusal(
      await generate("good.json", "--key", "keys/gala/master.key"),
      2,
      /master\.key is not a valid signing key file/,
      secrets,
    );
    expectRefusal(
      await generate("good.json", "--key", "no.key"),
      2,
      /signing key file no\.key does not exist: make one with `hongbao keys new`/,
    );
    spoiled(
      "live.json",
      '"mode":"test"',
      `"mode":"live","keys":{"operator":"${publicKey()}","approver":"${"B".repeat(42)}A"}`,
    );
    expectRefusal(
      await generate("live.json", "--key", "keys/gala/operator.key"),
      2,
      /master\.key is the master key of gala \(test\), not of gala \(live\)/,
      secrets,
    );
    for (const [path, hash] of before) expect([path, fingerprint(cwd).get(path)]).toEqual([path, hash]);
  });

  it("is resumed with its own file, and says that nothing is left to do", async () => {
    const resumed = await generate("good.json", "--resume", "--json");
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(JSON.parse(resumed.stdout)).toMatchObject({ epoch: 2, alreadyComplete: true });
  });

  function publicKey(): string {
    return JSON.parse(readFileSync(join(cwd, "keys/gala/operator.key"), "utf8")).publicKey;
  }
});

describe("two generators at once", () => {
  it("the second one is refused; the first one, killed, is resumed to the end", async () => {
    const big = { ...JSON.parse(campaignText("big")), packets: 600_000, budgetCents: 60_000_000, shards: 4 };
    writeFileSync(join(cwd, "big.json"), JSON.stringify(big));
    const first = start(["generate", "big.json", "--workers", "1"], { cwd });
    const minting = () => expect(existsSync(join(cwd, "seeds/big/e1/minting"))).toBe(true);
    await vi.waitFor(minting, { timeout: 20_000, interval: 5 });
    first.pause();
    const second = await run(["generate", "big.json"], { cwd });
    expectRefusal(second, 1, /the mint of campaign big is in use by another process .*: stop that one first/);
    await first.kill();
    expect(existsSync(join(cwd, "seeds/big/e1/manifest.json"))).toBe(false);
    expectRefusal(await run(["reconcile", "big"], { cwd }), 2, /campaign big has no complete epoch/);
    const before = fingerprint(cwd);
    const elsewhere = await run(["generate", "big.json", "--resume"], {
      cwd,
      env: { KEYS_DIR: "elsewhere" },
    });
    expectRefusal(elsewhere, 2, /epoch 1 was begun under a master key that is not at .*: set KEYS_DIR right/);
    expect(fingerprint(cwd)).toEqual(before);
    const resumed = await run(["generate", "big.json", "--resume", "--json"], { cwd });
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(JSON.parse(resumed.stdout)).toMatchObject({ epoch: 1, packets: 600_000 });
  });
});
