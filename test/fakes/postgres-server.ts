/**
 * A real, throwaway PostgreSQL cluster for tests that stop and start it. PostgreSQL refuses to run as root, so
 * there it runs as the user `postgres` that Debian's package makes.
 *
 * A test machine without one skips those tests and says so; under CI=true that is a failure.
 */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { vi } from "vitest";
import { isMissing } from "./missing.ts";

const DEBIAN_VERSIONS = "/usr/lib/postgresql";
const BINARIES = findBinaries();

export const postgresIsMissing = isMissing("PostgreSQL (initdb)", BINARIES !== undefined);

export class PostgresServer {
  readonly port: number;
  readonly #home = mkdtempSync(join(tmpdir(), "hongbao-postgres-"));
  readonly #as = unprivileged();
  #process: ChildProcess | undefined;

  constructor(port: number) {
    this.port = port;
    if (this.#as.uid !== undefined && this.#as.gid !== undefined)
      chownSync(this.#home, this.#as.uid, this.#as.gid);
    execFileSync(this.#binary("initdb"), ["-D", this.#data, "-A", "trust", "-U", "postgres", "--no-sync"], {
      ...this.#as,
      stdio: "ignore",
    });
  }

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`;
  }

  async start(): Promise<void> {
    const settings = ["listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=16MB"].flatMap((s) => [
      "-c",
      s,
    ]);
    const place = ["-D", this.#data, "-p", `${this.port}`, "-k", this.#home];
    this.#process = spawn(this.#binary("postgres"), [...place, ...settings], {
      ...this.#as,
      stdio: "ignore",
    });
    await vi.waitFor(() => this.ask("SELECT 1"), { timeout: 15_000, interval: 50 });
  }

  /** An immediate shutdown, which PostgreSQL treats as a crash: connections break, what was committed stays. */
  async crash(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return;
    child.kill("SIGQUIT");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }

  async remove(): Promise<void> {
    await this.crash();
    rmSync(this.#home, { recursive: true, force: true });
  }

  /** Runs SQL on a connection of its own. */
  async ask(sql: string): Promise<pg.QueryResult> {
    const client = new pg.Client({ connectionString: this.url });
    client.on("error", () => {});
    await client.connect();
    try {
      return await client.query(sql);
    } finally {
      await client.end();
    }
  }

  get #data(): string {
    return join(this.#home, "data");
  }

  #binary(name: string): string {
    return join(BINARIES ?? "", name);
  }
}

function findBinaries(): string | undefined {
  const versions = existsSync(DEBIAN_VERSIONS) ? readdirSync(DEBIAN_VERSIONS) : [];
  return versions
    .map((version) => join(DEBIAN_VERSIONS, version, "bin"))
    .find((dir) => existsSync(join(dir, "initdb")));
}

function unprivileged(): Pick<SpawnOptions, "uid" | "gid"> {
  if (process.getuid?.() !== 0) return {};
  const idOf = (kind: string) => Number(execFileSync("id", [kind, "postgres"], { encoding: "utf8" }));
  return { uid: idOf("-u"), gid: idOf("-g") };
}
