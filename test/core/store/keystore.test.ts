import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { keyText } from "../../../core/format/keyfile.ts";
import { createKeyFile, readKeyFile, readMintKey } from "../../../core/store/keystore.ts";
import { Mint } from "../../apps/credit-worker/mint.ts";

const mint = new Mint();
let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "keystore-"));
  path = join(dir, "settlement.key");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe("key files on disk", () => {
  it("are readable by their owner alone, come back as they were, and are made once", async () => {
    await createKeyFile<"settlement">(path, mint.settlement);
    expect(statSync(path).mode & 0o777).toBe(0o400);
    expect(await readKeyFile("settlement", path)).toEqual(mint.settlement);
    await expect(createKeyFile<"settlement">(path, mint.settlement)).rejects.toMatchObject({
      code: "already_exists",
    });
  });

  it("that are missing say who makes them", async () => {
    await expect(readKeyFile("settlement", path)).rejects.toMatchObject({
      code: "missing_key_file",
      message: `the settlement key file ${path} does not exist: \`hongbao generate\` makes it; check KEYS_DIR`,
      cause: expect.objectContaining({ code: "missing_file" }),
    });
    await expect(readKeyFile("signing", path)).rejects.toMatchObject({
      code: "missing_key_file",
      message: `the signing key file ${path} does not exist: make one with \`hongbao keys new\``,
    });
  });

  it("that cannot be read, or are none, keep their own refusal", async () => {
    mkdirSync(path);
    await expect(readKeyFile("settlement", path)).rejects.toMatchObject({ code: "unreadable_file" });
    rmSync(path, { recursive: true });
    writeFileSync(path, "{}");
    await expect(readKeyFile("settlement", path)).rejects.toMatchObject({ code: "invalid_key_file" });
  });
});

describe("the key file of a mint", () => {
  it("fits the manifest that it was made with", async () => {
    await createKeyFile<"settlement">(path, mint.settlement);
    expect(await readMintKey("settlement", path, mint.manifest)).toEqual(mint.settlement);
  });

  it.each([
    ["campaign", new Mint({ campaign: "other" }), "gala-test (test) epoch 1, not of other (test) epoch 1"],
    ["mode", new Mint({ mode: "live" }), "gala-test (test) epoch 1, not of gala-test (live) epoch 1"],
    ["epoch", new Mint({ epoch: 2 }), "gala-test (test) epoch 1, not of gala-test (test) epoch 2"],
  ])("of another %s is refused", async (_, other, difference) => {
    await createKeyFile<"settlement">(path, mint.settlement);
    await expect(readMintKey("settlement", path, other.manifest)).rejects.toMatchObject({
      code: "key_mismatch",
      message: expect.stringContaining(
        `${path} is the settlement key of ${difference}: install the key file`,
      ),
    });
  });

  it("of another mint of the same epoch is refused: it would open other amounts", async () => {
    await createKeyFile<"settlement">(path, { ...mint.settlement, planHash: keyText(Buffer.alloc(32)) });
    await expect(readMintKey("settlement", path, mint.manifest)).rejects.toMatchObject({
      code: "key_mismatch",
      message: expect.stringContaining("belongs to another mint of gala-test (test) epoch 1"),
    });
  });
});
