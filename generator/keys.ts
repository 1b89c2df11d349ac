/**
 * The keys a mint needs, found or made. Nothing is created before everything that can be refused has been:
 * `findKeys` only reads, `makeKeys` creates what a campaign may create for itself.
 *
 * A test campaign makes its own operator key. A live campaign's operator brings one whose public half stands in
 * the campaign file: the machine that mints cannot sign for somebody else.
 */
import { randomBytes } from "node:crypto";
import type { Campaign } from "../core/format/campaign.ts";
import { HongbaoError } from "../core/format/error.ts";
import { keyBytes, keyText } from "../core/format/keyfile.ts";
import { KEY_BYTES } from "../core/format/keyring.ts";
import {
  manifestSignatureHolds,
  newSigningKey,
  type Role,
  type SigningKey,
  signManifest,
} from "../core/format/signature.ts";
import type { CampaignDir } from "../core/store/campaign-dir.ts";
import type { Disk } from "../core/store/disk.ts";
import { exists } from "../core/store/durable.ts";
import { createKeyFile, readKeyFile } from "../core/store/keystore.ts";

export interface NewKey {
  readonly role: Role;
  readonly publicKey: string;
}

export interface FoundKeys {
  readonly master: Buffer | undefined;
  readonly operator: SigningKey | undefined;
}

export interface MintKeys {
  readonly master: Buffer;
  readonly operator: SigningKey;
}

/**
 * Makes an operator's or approver's signing key in a file of its own, mode 0400.
 * @throws HongbaoError `already_exists`
 */
export async function newKey({ role, out }: { role: Role; out: string }): Promise<NewKey> {
  const key = newSigningKey();
  await createKeyFile<"signing">(out, { format: "hongbao.signing-key.v1", role, ...key });
  return { role, publicKey: key.publicKey };
}

/**
 * @param operatorKeyFile overrides a test campaign's own operator key
 * @throws HongbaoError `missing_key_file`, `key_mismatch`, `invalid_key_file`
 */
export async function findKeys(
  campaign: Campaign,
  dir: CampaignDir,
  operatorKeyFile: string | undefined,
): Promise<FoundKeys> {
  const own =
    campaign.mode === "test" && (await exists(dir.operatorKey, dir.disk)) ? dir.operatorKey : undefined;
  const path = operatorKeyFile ?? own;
  if (path === undefined && campaign.keys !== undefined)
    throw new HongbaoError(
      "missing_key_file",
      `campaign ${campaign.campaign} (${campaign.mode}) names its operator's public key: sign with the private one, --key FILE`,
    );
  const operator =
    path === undefined
      ? undefined
      : await readSigningKey(path, "operator", campaign.keys?.operator, dir.disk);
  return { master: await findMaster(campaign, dir), operator };
}

/** @throws HongbaoError `key_mismatch` if the file there belongs to another campaign or mode */
export async function findMaster(campaign: Campaign, dir: CampaignDir): Promise<Buffer | undefined> {
  if (!(await exists(dir.masterKey, dir.disk))) return undefined;
  const file = await readKeyFile("master", dir.masterKey, dir.disk);
  if (file.campaign !== campaign.campaign || file.mode !== campaign.mode)
    throw new HongbaoError(
      "key_mismatch",
      `${dir.masterKey} is the master key of ${file.campaign} (${file.mode}), not of ${campaign.campaign} (${campaign.mode}): use another KEYS_DIR or another campaign name`,
    );
  return keyBytes(file.master);
}

/** Creates what is missing. Only under the campaign's lock. */
export async function makeKeys(campaign: Campaign, dir: CampaignDir, found: FoundKeys): Promise<MintKeys> {
  let { master, operator } = found;
  if (master === undefined) {
    master = randomBytes(KEY_BYTES);
    // If we die here, nothing was minted under the key; the next run makes another or finds this one.
    const names = { campaign: campaign.campaign, mode: campaign.mode };
    const file = { format: "hongbao.master-key.v1", ...names, master: keyText(master) } as const;
    await createKeyFile<"master">(dir.masterKey, file, dir.disk);
  }
  if (operator === undefined) {
    operator = newSigningKey();
    const file = { format: "hongbao.signing-key.v1", role: "operator", ...operator } as const;
    await createKeyFile<"signing">(dir.operatorKey, file, dir.disk);
  }
  return { master, operator };
}

/**
 * @param expected the public key that the campaign file names for this role
 * @throws HongbaoError `missing_key_file`, `invalid_key_file`, `key_mismatch`
 */
export async function readSigningKey(
  path: string,
  role: Role,
  expected: string | undefined,
  disk: Disk,
): Promise<SigningKey> {
  const { role: actual, publicKey, privateKey } = await readKeyFile("signing", path, disk);
  if (actual !== role)
    throw new HongbaoError("key_mismatch", `${path} is the key of the ${actual}: the ${role}'s is needed`);
  if (expected !== undefined && publicKey !== expected)
    throw new HongbaoError(
      "key_mismatch",
      `${path} is not the ${role}'s key of this campaign: its public key is ${publicKey}, the campaign file names ${expected}`,
    );
  const probe = Buffer.from("probe");
  if (!manifestSignatureHolds(publicKey, probe, signManifest({ publicKey, privateKey }, probe)))
    throw new HongbaoError("invalid_key_file", `the two halves of ${path} do not belong together`);
  return { publicKey, privateKey };
}
