/**
 * Files that must be whole or absent, and are never overwritten by accident.
 *
 * `publish` writes a temporary file, fsyncs it, links it to its name exclusively and fsyncs the directory: after
 * a crash at any point the name either does not exist or holds every byte. `replace` is the same for the few
 * files that change (a node's show config).
 */
import { randomBytes } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { HongbaoError, systemCode } from "../format/error.ts";
import { type Disk, type DiskFile, machineDisk } from "./disk.ts";

export const SECRET_MODE = 0o400;
const PUBLIC_MODE = 0o444;
const READ_BYTES = 64 * 1024;
/** Of directories that hold users' names, tokens or keys: finance may be in the group, nobody else reads. */
export const PRIVATE_DIRECTORY = 0o750;

/**
 * Creates `path` with `bytes`, durably and exclusively.
 * @throws HongbaoError `already_exists`
 */
export async function publish(
  path: string,
  bytes: Uint8Array | string,
  mode = PUBLIC_MODE,
  disk: Disk = machineDisk,
): Promise<void> {
  const temporary = await writeBeside(path, bytes, mode, disk);
  try {
    // If we die here, the name does not exist yet; a stray temporary file is all that is left.
    await disk.link(temporary, path);
  } catch (cause) {
    if (systemCode(cause) === "EEXIST")
      throw new HongbaoError("already_exists", `${path} exists; nothing is ever overwritten`, { cause });
    throw cause;
  } finally {
    await disk.remove(temporary);
  }
  // If we die here, the entry may be lost with the power, but never the bytes without the name.
  await syncDirectory(dirname(path), disk);
}

/** Puts `bytes` in place of whatever `path` held: readers see the old or the new file, never a mixture. */
export async function replace(
  path: string,
  bytes: Uint8Array | string,
  mode = 0o644,
  disk: Disk = machineDisk,
): Promise<void> {
  const temporary = await writeBeside(path, bytes, mode, disk);
  try {
    await disk.rename(temporary, path);
  } catch (cause) {
    await disk.remove(temporary);
    throw cause;
  }
  await syncDirectory(dirname(path), disk);
}

/** Creates a directory and its parents, each made durable in the one above it, also if it is there already. */
export async function makeDirectory(path: string, mode = 0o755, disk: Disk = machineDisk): Promise<void> {
  const parent = dirname(path);
  if (await isDirectory(path, disk)) return await syncEntries(parent, disk);
  // Not by mkdir's `recursive`: it never returns where the parent is there and takes no entry (Linux's /proc).
  if (parent !== path) await makeDirectory(parent, mode, disk);
  try {
    await disk.makeDirectory(path, mode);
  } catch (cause) {
    // Another process may have been faster.
    if (systemCode(cause) !== "EEXIST" || !(await isDirectory(path, disk))) throw cause;
  }
  // If we die here, the directory may be lost with the power, and whoever finds it before that comes by again.
  await syncDirectory(parent, disk);
}

/** Of a directory that we may not have made: where we may not read or sync, we have made nothing. */
async function syncEntries(path: string, disk: Disk): Promise<void> {
  try {
    await syncDirectory(path, disk);
  } catch (cause) {
    const code = systemCode(cause);
    if (code !== "EACCES" && code !== "EINVAL") throw cause;
  }
}

async function isDirectory(path: string, disk: Disk): Promise<boolean> {
  try {
    return (await disk.stat(path)).isDirectory();
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return false;
    throw error;
  }
}

export async function syncDirectory(path: string, disk: Disk = machineDisk): Promise<void> {
  const handle = await disk.open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Reads a whole small file (key, manifest, config).
 * @param what what the file is, for the sentence of a refusal
 * @throws HongbaoError `missing_file`, or `unreadable_file` (no permission, too large, a read error)
 */
export async function readSmallFile(
  path: string,
  what: string,
  bytesMax = 64 * 1024 * 1024,
  disk: Disk = machineDisk,
): Promise<Buffer> {
  let handle: DiskFile | undefined;
  try {
    handle = await disk.open(path, "r");
    const chunks: Buffer[] = [];
    let size = 0;
    // Devices and pipes do not tell their size.
    while (size <= bytesMax) {
      const chunk = Buffer.allocUnsafe(READ_BYTES);
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, null);
      if (bytesRead === 0) return Buffer.concat(chunks, size);
      chunks.push(chunk.subarray(0, bytesRead));
      size += bytesRead;
    }
    throw new HongbaoError(
      "unreadable_file",
      `${what} ${path} has more than ${bytesMax} bytes, it cannot be one: check the path`,
    );
  } catch (cause) {
    if (cause instanceof HongbaoError) throw cause;
    throw fileProblem(cause, path, what);
  } finally {
    await handle?.close();
  }
}

/** The sentence for a file that cannot be opened or read. */
export function fileProblem(cause: unknown, path: string, what: string): HongbaoError {
  const code = systemCode(cause);
  if (code === "ENOENT" || code === "ENOTDIR")
    return new HongbaoError("missing_file", `${what} ${path} does not exist: check the path`, { cause });
  const why =
    code === "EACCES"
      ? "may not be read by this user: check its owner and permissions"
      : code === "EISDIR"
        ? "is a directory where a file is needed: check the path"
        : `cannot be read (${code ?? String(cause)}): check the path and the disk`;
  return new HongbaoError("unreadable_file", `${what} ${path} ${why}`, { cause });
}

export async function exists(path: string, disk: Disk = machineDisk): Promise<boolean> {
  try {
    await disk.stat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return false;
    throw error;
  }
}

async function writeBeside(
  path: string,
  bytes: Uint8Array | string,
  mode: number,
  disk: Disk,
): Promise<string> {
  // What others may not read they need not list either.
  await makeDirectory(dirname(path), (mode & 0o077) === 0 ? PRIVATE_DIRECTORY : 0o755, disk);
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  const handle = await disk.open(temporary, "wx", mode);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } catch (cause) {
    // What could not be written whole is of no use, and may be half a key.
    await disk.remove(temporary);
    throw cause;
  } finally {
    await handle.close();
  }
  return temporary;
}
