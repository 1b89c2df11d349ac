/**
 * An exclusive lock on a file, held by this process and freed by the kernel when it dies, however it dies
 * (open file description locks on Linux; fs-native-extensions carries the binding for the other platforms).
 */
import { closeSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { tryLock } from "fs-native-extensions";
import { HongbaoError } from "../format/error.ts";
import { makeDirectory, PRIVATE_DIRECTORY } from "./durable.ts";

export interface Lock {
  release(): void;
}

/**
 * @param what what the lock guards, for the sentence of a refusal: "shard 3"
 * @param directoryMode of the directory, if it is made here
 * @throws HongbaoError `locked` if another process (or this one) holds it
 */
export async function takeLock(path: string, what: string, directoryMode = PRIVATE_DIRECTORY): Promise<Lock> {
  await makeDirectory(dirname(path), directoryMode);
  const fd = openSync(path, "a+", 0o600);
  if (!tryLock(fd)) {
    closeSync(fd);
    throw new HongbaoError(
      "locked",
      `${what} is in use by another process (${path} is locked): stop that one first`,
    );
  }
  return { release: () => closeSync(fd) };
}
