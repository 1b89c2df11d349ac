/**
 * Settings: flags over environment over defaults, each checked where it enters. A bad value stops the program
 * and names the variable. Secrets may come as NAME_FILE, so that they need not stand in the environment.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { resolve } from "node:path";
import { HongbaoError, systemCode } from "../../core/format/error.ts";
import type { Roots } from "../../core/store/campaign-dir.ts";
import { parseQueueAddress, type QueueAddress } from "../../core/store/queue-address.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Set by `up` and `demo` for the programs that they fork: the queue is theirs, over the IPC channel. */
export const EMBEDDED_QUEUE = "HONGBAO_EMBEDDED_QUEUE";

/** Set for every program of a fleet: a refusal is told to the parent instead of printed. */
export const FLEET = "HONGBAO_FLEET";

const SECRET_BYTES_MAX = 4096;
const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

export interface DirectoryFlags {
  readonly seedsDir?: string | undefined;
  readonly keysDir?: string | undefined;
  readonly dataDir?: string | undefined;
}

export function roots(flags: DirectoryFlags, env: Environment): Roots {
  return {
    seedsDir: resolve(flags.seedsDir ?? setting(env, "SEEDS_DIR") ?? "seeds"),
    keysDir: resolve(flags.keysDir ?? setting(env, "KEYS_DIR") ?? "keys"),
    dataDir: resolve(flags.dataDir ?? setting(env, "DATA_DIR") ?? "data"),
  };
}

/** @throws HongbaoError `invalid_queue_url` */
export function queueAddress(env: Environment): QueueAddress {
  return parseQueueAddress(secret(env, "QUEUE_URL"), env[EMBEDDED_QUEUE] === "1");
}

export function ledgerUrl(env: Environment): string | undefined {
  return secret(env, "LEDGER_URL");
}

/** @throws HongbaoError `invalid_config` */
export function port(flag: number | undefined, env: Environment, fallback: number): number {
  const text = String(flag ?? setting(env, "PORT") ?? fallback);
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text) || value > 65535)
    throw new HongbaoError(
      "invalid_config",
      `${flag === undefined ? "PORT" : "--port"} must be a port from 0 to 65535, not "${text}"`,
    );
  return value;
}

/** @throws HongbaoError `usage` */
export function creditsPerSecond(flag: number | undefined): number | undefined {
  if (flag !== undefined && !(Number.isFinite(flag) && flag > 0))
    throw new HongbaoError("usage", `--rate must be a number of credits a second above 0, not ${flag}`);
  return flag;
}

/** @throws HongbaoError `invalid_config` */
export function logLevel(flag: string | undefined, env: Environment): string {
  const level = flag ?? setting(env, "LOG_LEVEL") ?? "info";
  if (!LOG_LEVELS.includes(level))
    throw new HongbaoError(
      "invalid_config",
      `LOG_LEVEL must be one of ${LOG_LEVELS.join(", ")}, not "${level}"`,
    );
  return level;
}

/** An empty variable is an unset one. */
function setting(env: Environment, name: string): string | undefined {
  return env[name] === "" ? undefined : env[name];
}

function secret(env: Environment, name: string): string | undefined {
  const path = setting(env, `${name}_FILE`);
  const value = setting(env, name);
  if (path === undefined) return value;
  if (value !== undefined)
    throw new HongbaoError("invalid_config", `${name} and ${name}_FILE are both set: set one of them`);
  let bytes: Buffer;
  try {
    bytes = readStart(path, SECRET_BYTES_MAX + 1);
  } catch (cause) {
    const why = systemCode(cause) === "ENOENT" ? "which does not exist" : "which cannot be read";
    throw new HongbaoError("invalid_config", `${name}_FILE names ${path}, ${why}: correct the path`, {
      cause,
    });
  }
  if (bytes.length <= SECRET_BYTES_MAX) return bytes.toString("utf8").trim();
  throw new HongbaoError("invalid_config", `${name}_FILE names ${path}, which is too long to hold ${name}`);
}

/** A secret may come through a pipe or from a device: no more than `bytesMax` is ever read. */
function readStart(path: string, bytesMax: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(bytesMax);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytesMax; length += read)
      read = readSync(fd, bytes, length, bytesMax - length, null);
    return bytes.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}
