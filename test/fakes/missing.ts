/**
 * A test machine without a server skips the tests that need it and says so; under CI=true that is a failure.
 */
import { REDIS_PROGRAM } from "../../scripts/torture/stage/redis-server.ts";

/** @returns true when a test needs to be skipped because `what` is not installed. */
export function isMissing(what: string, isInstalled: boolean): boolean {
  if (isInstalled) return false;
  const message = `${what} is not installed: the tests that need it cannot run.`;
  if (process.env["CI"] === "true") throw new Error(message);
  process.stderr.write(`\n!!! ${message} SKIPPED !!!\n`);
  return true;
}

export const redisIsMissing = isMissing("redis-server", REDIS_PROGRAM !== undefined);
