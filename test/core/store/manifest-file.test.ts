import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newSigningKey, signManifest } from "../../../core/format/signature.ts";
import { CampaignDir, type EpochDir } from "../../../core/store/campaign-dir.ts";
import { checkSignatures, readManifest } from "../../../core/store/manifest-file.ts";
import { Mint, type MintOptions, rootsIn } from "../../apps/credit-worker/mint.ts";

const operator = newSigningKey();
const approver = newSigningKey();
const both = { operator: operator.publicKey, approver: approver.publicKey };
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "manifest-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A manifest in its place, without signatures. */
function lay(options: MintOptions = {}, epoch = options.epoch ?? 1): { epoch: EpochDir; mint: Mint } {
  const mint = new Mint(options);
  const place = new CampaignDir(rootsIn(dir), mint.manifest.campaign).epoch(epoch);
  mkdirSync(place.seedsDir, { recursive: true });
  writeFileSync(place.manifest, mint.file.bytes);
  return { epoch: place, mint };
}

describe("a manifest on disk", () => {
  it("comes with its bytes and their hash", async () => {
    const { epoch, mint } = lay();
    expect(await readManifest(epoch)).toEqual(mint.file);
  });

  it("of another epoch lies in the wrong place", async () => {
    const { epoch } = lay({ epoch: 2 }, 1);
    await expect(readManifest(epoch)).rejects.toMatchObject({
      code: "invalid_manifest",
      message: `${epoch.manifest} is the manifest of gala-test epoch 2 and lies in the wrong place: fetch the right one`,
    });
  });

  it("of another campaign lies in the wrong place", async () => {
    const { epoch } = lay();
    const other = new CampaignDir(rootsIn(dir), "other").epoch(1);
    mkdirSync(other.seedsDir, { recursive: true });
    writeFileSync(other.manifest, new Mint().file.bytes);
    await expect(readManifest(other)).rejects.toMatchObject({ code: "invalid_manifest" });
    expect((await readManifest(epoch)).manifest.campaign).toBe("gala-test");
  });
});

describe("the signatures beside it", () => {
  it("of a test campaign: the operator's is enough", async () => {
    const { epoch, mint } = lay();
    await expect(checkSignatures(epoch, mint.file, both)).rejects.toMatchObject({
      code: "missing_signature",
      message: expect.stringMatching(/not signed by the operator .*: fetch it, or finish the mint with/),
    });
    writeFileSync(epoch.signature("operator"), `${signManifest(operator, mint.file.bytes)}\n`);
    await checkSignatures(epoch, mint.file, both);
  });

  it("of a live campaign: both, from two keys", async () => {
    const { epoch, mint } = lay({ mode: "live" });
    writeFileSync(epoch.signature("operator"), signManifest(operator, mint.file.bytes));
    await expect(checkSignatures(epoch, mint.file, both)).rejects.toMatchObject({
      code: "missing_signature",
      message: expect.stringMatching(
        /not signed by the approver .*: run `hongbao approve gala-test --key FILE`/,
      ),
    });
    writeFileSync(epoch.signature("approver"), signManifest(approver, mint.file.bytes));
    await checkSignatures(epoch, mint.file, both);
    for (const trusted of [{ operator: both.operator }, { operator: both.operator, approver: both.operator }])
      await expect(checkSignatures(epoch, mint.file, trusted)).rejects.toMatchObject({
        code: "missing_signature",
        message: expect.stringContaining("name no approver apart from the operator"),
      });
  });

  it("by somebody else, or over other bytes, is named", async () => {
    const { epoch, mint } = lay();
    writeFileSync(epoch.signature("operator"), signManifest(approver, mint.file.bytes));
    await expect(checkSignatures(epoch, mint.file, both)).rejects.toMatchObject({
      code: "invalid_signature",
      message: expect.stringContaining("is not the operator's signature over this manifest"),
    });
  });

  it("that cannot be read is not taken for missing", async () => {
    const { epoch, mint } = lay();
    mkdirSync(epoch.signature("operator"));
    await expect(checkSignatures(epoch, mint.file, both)).rejects.toMatchObject({ code: "unreadable_file" });
  });
});
