/**
 * An exclusive lock on a file, held by this process and freed by the kernel when it dies, however it dies.
 */
import { dirname } from "node:path";
import { HongbaoError } from "../format/error.ts";
import { type Disk, machineDisk } from "./disk.ts";
import { makeDirectory, PRIVATE_DIRECTORY } from "./durable.ts";

export interface Lock {
  release(): void;
}

/**
 * @param what what the lock guards, for the sentence of a refusal: "shard 3"
 * @param directoryMode of the directory, if it is made here
 * @throws HongbaoError `locked` if another process (or this one) holds it
 */
export async function takeLock(
  path: string,
  what: string,
  directoryMode = PRIVATE_DIRECTORY,
  disk: Disk = machineDisk,
): Promise<Lock> {
  await makeDirectory(dirname(path), directoryMode, disk);
  const release = await disk.lock(path);
  if (release !== undefined) return { release };
  throw new HongbaoError(
    "locked",
    `${what} is in use by another process (${path} is locked): stop that one first`,
  );
}
