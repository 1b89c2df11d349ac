/**
 * `hongbao doctor`'s checks: is this machine fit to run the programs? Each check says what it found and, where
 * it fails, what to do. None changes a campaign; asking a new PostgreSQL queue makes BullMQ's tables in it.
 */
import { constants } from "node:fs";
import { access, readdir, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HongbaoError } from "../../core/format/error.ts";
import type { Roots } from "../../core/store/campaign-dir.ts";
import { describeQueueAddress, type QueueAddress } from "../../core/store/queue-address.ts";

export interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
}

const FREE_BYTES_MIN = 1024 ** 3;
const QUEUE_MS_MAX = 4_000;
const CLOCK_DRIFT_MS_MAX = 50;
const EARLIEST_MS = Date.UTC(2025, 0, 1);

export interface DoctorOptions {
  readonly roots: Roots;
  readonly queue: () => QueueAddress;
  readonly ledgerUrl: () => string | undefined;
  /** Reads the settings that no other check reads; throws at a bad one. */
  readonly settings: () => void;
}

export async function examine(options: DoctorOptions): Promise<Finding[]> {
  return await Promise.all([
    check("runtime", async () => runtime()),
    check("native modules", nativeModules),
    check("settings", async () => settings(options)),
    check("queue", () => queue(options.queue())),
    check("ledgers", () => ledgers(options)),
    check("keys", () => keys(options.roots.keysDir)),
    check("clock", clock),
    check("free disk", () => freeDisk(options.roots.dataDir)),
  ]);
}

async function check(name: string, run: () => Promise<string>): Promise<Finding> {
  try {
    return { check: name, ok: true, detail: await run() };
  } catch (error) {
    return { check: name, ok: false, detail: error instanceof Error ? error.message : String(error) };
  }
}

function runtime(): string {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19))
    throw new Error(`Node ${process.versions.node} is too old: install Node 20.19 or newer`);
  return `Node ${process.versions.node}, ${process.platform} ${process.arch}`;
}

async function nativeModules(): Promise<string> {
  const { default: Database } = await import("better-sqlite3");
  const db = new Database(":memory:");
  const row = db.prepare<[], { version: string }>("SELECT sqlite_version() AS version").get();
  db.close();
  await import("fs-native-extensions");
  return `SQLite ${row?.version}, file locks`;
}

function settings({ settings: read, roots }: DoctorOptions): string {
  read();
  return `seeds ${roots.seedsDir}, keys ${roots.keysDir}, data ${roots.dataDir}`;
}

async function queue(address: QueueAddress): Promise<string> {
  const name = describeQueueAddress(address);
  if (address.kind === "none") return `${name}: \`up\` and \`demo\` host their own`;
  const { openBatchProducer } = await import("../../core/store/queue.ts");
  let trouble: string | undefined;
  const producer = openBatchProducer(address, "hongbao-doctor", {
    ack() {},
    recovered() {},
    trouble: (message) => {
      trouble = message;
    },
  });
  try {
    const deadline = performance.now() + QUEUE_MS_MAX;
    while (trouble === undefined && performance.now() < deadline) {
      if ((await producer.depth()) !== null) return `${name} answers`;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    await producer.close();
  }
  const why = (trouble ?? `The queue at ${name} does not answer.`).replace(/(; trying again)?\.$/, "");
  throw new Error(`${why}: start it, or set QUEUE_URL right`);
}

async function ledgers(options: DoctorOptions): Promise<string> {
  const { parseLedgerAddress } = await import("../../core/store/ledger-address.ts");
  const { readLedger } = await import("../../core/store/ledger-reader.ts");
  const url = options.ledgerUrl();
  const own = (await campaigns(options.roots.dataDir)).map((name) =>
    join(options.roots.dataDir, name, "ledger.db"),
  );
  const paths = url === undefined ? own : [parseLedgerAddress(url, own[0] ?? "ledger.db").path];
  const found: string[] = [];
  for (const path of paths) {
    if ((await stat(path).catch(() => undefined)) === undefined) continue;
    const ledger = readLedger(path);
    try {
      const [fault] = [...ledger.integrityFaults()];
      if (fault !== undefined) throw new HongbaoError("corrupt_ledger", `${path} is damaged: ${fault}`);
      found.push(`${path}: ${ledger.totals().packets} credits`);
    } finally {
      ledger.close();
    }
  }
  return found.length > 0 ? found.join("; ") : "none made yet";
}

/** Every key file is mode 0400, so that neither group nor others read it and nobody overwrites it by accident. */
async function keys(keysDir: string): Promise<string> {
  let files = 0;
  for (const entry of await readdir(keysDir, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (!entry.isFile() || !entry.name.endsWith(".key")) continue;
    const path = join(entry.parentPath, entry.name);
    const mode = (await stat(path)).mode & 0o777;
    if (mode !== 0o400) throw new Error(`${path} has mode 0${mode.toString(8)}: run \`chmod 0400 ${path}\``);
    files++;
  }
  return files > 0 ? `${files} key files, all 0400` : `none under ${keysDir}`;
}

/** Wall and monotonic clock must run together, and the wall clock must be set at all. */
async function clock(): Promise<string> {
  const [wall, monotonic] = [Date.now(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, 300));
  const driftMs = Date.now() - wall - (performance.now() - monotonic);
  if (wall < EARLIEST_MS)
    throw new Error(`the clock says ${new Date(wall).toISOString()}: set it, and run an NTP client`);
  if (Math.abs(driftMs) > CLOCK_DRIFT_MS_MAX)
    throw new Error(
      `the clock moved by ${Math.round(driftMs)} ms in 300 ms: let it settle, rounds open by it`,
    );
  return `${new Date(wall).toISOString()}, steady`;
}

async function freeDisk(dataDir: string): Promise<string> {
  let dir = dataDir;
  let found = await stat(dir).catch(() => undefined);
  while (found === undefined && dirname(dir) !== dir) {
    dir = dirname(dir);
    found = await stat(dir).catch(() => undefined);
  }
  if (found && !found.isDirectory()) throw new Error(`${dir} is not a directory: set DATA_DIR right`);
  const { bavail, bsize } = await statfs(dir);
  const free = `${((bavail * bsize) / 1024 ** 3).toFixed(1)} GiB free at ${dir}`;
  if (bavail * bsize < FREE_BYTES_MIN)
    throw new Error(`${free}: a node stops when its journal cannot be written; free some`);
  await access(dir, constants.W_OK).catch(() => {
    throw new Error(`${dir} cannot be written by this user: set DATA_DIR`);
  });
  return free;
}

async function campaigns(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}
