/**
 * A real redis-server on a port of its own, in memory, for tests that kill, freeze and empty it.
 *
 * A test machine without one skips those tests and says so; under CI=true that is a failure.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Redis } from "ioredis";
import { vi } from "vitest";

/** @returns true when a test needs to be skipped because `what` is not installed. */
export function isMissing(what: string, isInstalled: boolean): boolean {
  if (isInstalled) return false;
  const message = `${what} is not installed: the tests that need it cannot run.`;
  if (process.env["CI"] === "true") throw new Error(message);
  process.stderr.write(`\n!!! ${message} SKIPPED !!!\n`);
  return true;
}

const PROGRAM = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((directory) => join(directory, "redis-server"))
  .find((path) => existsSync(path));

export const redisIsMissing = isMissing("redis-server", PROGRAM !== undefined);

/** @returns a port that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export class RedisServer {
  readonly port: number;
  #process: ChildProcess | undefined;

  constructor(port: number) {
    this.port = port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts it, empty. Returns when it answers. */
  async start(): Promise<void> {
    const options = ["--port", `${this.port}`, "--bind", "127.0.0.1", "--save", "", "--dir", tmpdir()];
    const child = spawn(PROGRAM ?? "", options, { stdio: "ignore" });
    this.#process = child;
    await vi.waitFor(() => this.ask((redis) => redis.ping()), { timeout: 10_000, interval: 20 });
  }

  /** SIGKILL: everything in it is gone. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return;
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }

  /** SIGSTOP: it still accepts connections, and never answers. */
  freeze(): void {
    this.#process?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#process?.kill("SIGCONT");
  }

  async flush(): Promise<void> {
    await this.ask((redis) => redis.flushall());
  }

  /** Runs something on a connection of its own. */
  async ask<T>(command: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis(this.url, { lazyConnect: true, retryStrategy: () => null });
    redis.on("error", () => {});
    try {
      await redis.connect();
      return await command(redis);
    } finally {
      redis.disconnect();
    }
  }
}
