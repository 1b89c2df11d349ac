/**
 * Key files on disk: created exclusively with mode 0400, read whole, never overwritten, never logged.
 */

import { HongbaoError } from "../format/error.ts";
import type { KeyFile, KeyFileKind } from "../format/keyfile.ts";
import { formatKeyFile, keyBytes, parseKeyFile } from "../format/keyfile.ts";
import type { Manifest } from "../format/manifest.ts";
import { type Disk, machineDisk } from "./disk.ts";
import { publish, readSmallFile, SECRET_MODE } from "./durable.ts";

const KEY_FILE_BYTES_MAX = 64 * 1024;

/** @throws HongbaoError `missing_key_file`, `unreadable_file`, `invalid_key_file` */
export async function readKeyFile<K extends KeyFileKind>(
  kind: K,
  path: string,
  disk: Disk = machineDisk,
): Promise<KeyFile<K>> {
  try {
    const bytes = await readSmallFile(path, `the ${kind} key file`, KEY_FILE_BYTES_MAX, disk);
    return parseKeyFile(kind, bytes.toString("utf8"), path);
  } catch (cause) {
    if (!(cause instanceof HongbaoError) || cause.code !== "missing_file") throw cause;
    const hint =
      kind === "signing" ? "make one with `hongbao keys new`" : "`hongbao generate` makes it; check KEYS_DIR";
    throw new HongbaoError("missing_key_file", `the ${kind} key file ${path} does not exist: ${hint}`, {
      cause,
    });
  }
}

/**
 * Reads a key file that belongs to one mint, and holds it against that mint's manifest.
 * @throws HongbaoError `key_mismatch`, and whatever `readKeyFile` throws
 */
export async function readMintKey<K extends "node" | "settlement">(
  kind: K,
  path: string,
  manifest: Manifest,
  disk: Disk = machineDisk,
): Promise<KeyFile<K>> {
  const file = await readKeyFile(kind, path, disk);
  const own = `${file.campaign} (${file.mode}) epoch ${file.epoch}`;
  const wanted = `${manifest.campaign} (${manifest.mode}) epoch ${manifest.epoch}`;
  const hint = "install the key file that `hongbao generate` made with this manifest";
  if (own !== wanted)
    throw new HongbaoError("key_mismatch", `${path} is the ${kind} key of ${own}, not of ${wanted}: ${hint}`);
  if (keyBytes(file.planHash).toString("hex") !== manifest.planHash)
    throw new HongbaoError("key_mismatch", `${path} belongs to another mint of ${wanted}: ${hint}`);
  return file;
}

/** @throws HongbaoError `already_exists` */
export async function createKeyFile<K extends KeyFileKind>(
  path: string,
  file: KeyFile<K>,
  disk: Disk = machineDisk,
): Promise<void> {
  await publish(path, formatKeyFile(file), SECRET_MODE, disk);
}
