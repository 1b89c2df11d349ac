/**
 * A manifest as it lies on disk, with the signatures beside it. Whoever uses one says whose keys it trusts.
 */
import { HongbaoError } from "../format/error.ts";
import { type Manifest, manifestHash, parseManifest } from "../format/manifest.ts";
import { manifestSignatureHolds, type Role } from "../format/signature.ts";
import type { EpochDir } from "./campaign-dir.ts";
import { readSmallFile } from "./durable.ts";

export interface ManifestFile {
  readonly manifest: Manifest;
  readonly bytes: Buffer;
  /** SHA-256 of the bytes, hex. */
  readonly hash: string;
}

/** Public keys of a key file. */
export interface TrustedKeys {
  readonly operator: string;
  readonly approver?: string | undefined;
}

/** @throws HongbaoError `missing_file`, `unreadable_file`, `invalid_manifest` */
export async function readManifest(epoch: EpochDir): Promise<ManifestFile> {
  const bytes = await readSmallFile(epoch.manifest, "the manifest", undefined, epoch.disk);
  const manifest = parseManifest(bytes, epoch.manifest);
  if (manifest.campaign !== epoch.of.campaign || manifest.epoch !== epoch.epoch)
    throw new HongbaoError(
      "invalid_manifest",
      `${epoch.manifest} is the manifest of ${manifest.campaign} epoch ${manifest.epoch} and lies in the wrong place: fetch the right one`,
    );
  return { manifest, bytes, hash: manifestHash(bytes) };
}

/**
 * Holds the manifest's signatures against trusted keys: the operator's always, for a live campaign the
 * approver's as well, from a different key.
 * @throws HongbaoError `missing_signature`, `invalid_signature`
 */
export async function checkSignatures(
  epoch: EpochDir,
  file: ManifestFile,
  trusted: TrustedKeys,
): Promise<void> {
  await checkSignature(epoch, file, "operator", trusted.operator);
  if (file.manifest.mode === "test") return;
  if (trusted.approver === undefined || trusted.approver === trusted.operator)
    throw new HongbaoError(
      "missing_signature",
      `the key files of live campaign ${file.manifest.campaign} name no approver apart from the operator`,
    );
  await checkSignature(epoch, file, "approver", trusted.approver);
}

async function checkSignature(epoch: EpochDir, file: ManifestFile, role: Role, key: string): Promise<void> {
  const path = epoch.signature(role);
  let signature: string;
  try {
    signature = (await readSmallFile(path, "the signature", 1024, epoch.disk)).toString("utf8").trim();
  } catch (cause) {
    if (!(cause instanceof HongbaoError) || cause.code !== "missing_file") throw cause;
    const hint =
      role === "approver"
        ? `: run \`hongbao approve ${file.manifest.campaign} --key FILE\``
        : ": fetch it, or finish the mint with `hongbao generate FILE --resume`";
    throw new HongbaoError(
      "missing_signature",
      `the manifest is not signed by the ${role} (${path} is missing)${hint}`,
      { cause },
    );
  }
  if (!manifestSignatureHolds(key, file.bytes, signature))
    throw new HongbaoError(
      "invalid_signature",
      `${path} is not the ${role}'s signature over this manifest: fetch the manifest and its signatures again`,
    );
}
