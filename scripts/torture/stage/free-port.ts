/**
 * Ports for programs that are killed and started again on the same one. They lie below those that the kernel gives to
 * connections (Linux: net.ipv4.ip_local_port_range begins at 32768): one of those could be somebody's just then.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

const LOWEST = 10_000;
const BELOW = 32_768;
/** fetch reaches no such port (Fetch standard, "bad port"). */
const UNREACHABLE = 10_080;
const TRIES_MAX = 100;

/** Those of this process, which may be between two lives. */
const given = new Set<number>();

/** @returns a port that nobody listens on at this moment, and that nobody else of this process is given */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const port = randomInt(LOWEST, BELOW);
    if (port === UNREACHABLE || given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no free port from ${LOWEST} to ${BELOW - 1}`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}
