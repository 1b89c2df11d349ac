/**
 * A real redis-server on a port of its own, for those who kill, freeze and empty it. In memory only, unless its
 * settings say otherwise.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Redis } from "ioredis";
import { until } from "./until.ts";

const START_MS_MAX = 10_000;

/** Where redis-server is installed, or undefined. */
export const REDIS_PROGRAM: string | undefined = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((directory) => join(directory, "redis-server"))
  .find((path) => existsSync(path));

export class RedisServer {
  readonly port: number;
  #process: ChildProcess | undefined;

  constructor(port: number) {
    this.port = port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /**
   * Returns when it answers; it begins empty unless `settings` name something to load.
   * @param settings options of redis-server, as on its command line: `["--maxmemory", "2mb"]`
   */
  async start(settings: readonly string[] = []): Promise<void> {
    if (REDIS_PROGRAM === undefined) throw new Error("redis-server is not installed");
    const place = ["--port", `${this.port}`, "--bind", "127.0.0.1", "--save", "", "--dir", tmpdir()];
    const child = spawn(REDIS_PROGRAM, [...place, ...settings], { stdio: "ignore" });
    this.#process = child;
    await until(() => this.ask((redis) => redis.ping()), START_MS_MAX);
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
