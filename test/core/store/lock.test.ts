import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { takeLock } from "../../../core/store/lock.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "lock-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

it("a lock has one holder, also within one process, until it is released", async () => {
  const path = join(dir, "node-0000/lock");
  const lock = await takeLock(path, "shard 0");
  expect(statSync(join(dir, "node-0000")).mode & 0o777).toBe(0o750);
  await expect(takeLock(path, "shard 0")).rejects.toMatchObject({
    code: "locked",
    message: `shard 0 is in use by another process (${path} is locked): stop that one first`,
  });
  const other = await takeLock(join(dir, "node-0001/lock"), "shard 1", 0o700);
  expect(statSync(join(dir, "node-0001")).mode & 0o777).toBe(0o700);
  other.release();
  lock.release();
  (await takeLock(path, "shard 0")).release();
});
