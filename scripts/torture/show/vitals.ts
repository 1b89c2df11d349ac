/**
 * Memory and file descriptors of a process that lives on, by what the kernel says of it. Garbage makes memory a saw:
 * the least of each window is what the process really holds. The first third of the windows is held against the last.
 * Connections of clients are not counted: how many there are is the audience's doing.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

const WINDOWS = 30;
const SAMPLES_PER_WINDOW = 10;
/** Samples that a whole run should make. */
export const SAMPLES = WINDOWS * SAMPLES_PER_WINDOW;
const THIRDS = 3;
const GONE = ["ENOENT", "ESRCH"];

export interface Growth {
  readonly first: number;
  readonly last: number;
  readonly perHour: number;
}

export class Vitals {
  private readonly pid: number;
  private readonly port: number | undefined;
  private readonly samples: { readonly atMs: number; readonly mb: number; readonly fds: number }[] = [];

  /** @param port where it serves clients, if it does */
  constructor(pid: number, port?: number) {
    this.pid = pid;
    this.port = port;
  }

  /** Nothing of a process that has ended: whoever keeps it notices. */
  sample(): void {
    try {
      const kb = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))?.[1]);
      this.samples.push({ atMs: performance.now(), mb: kb / 1024, fds: this.descriptors() });
    } catch (error) {
      if (!GONE.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
  }

  private descriptors(): number {
    const clients = this.port === undefined ? new Set() : socketsAt(this.port);
    const dir = `/proc/${this.pid}/fd`;
    return readdirSync(dir).filter((fd) => !clients.has(target(`${dir}/${fd}`))).length;
  }

  growth(of: "mb" | "fds"): Growth {
    const windows: number[] = [];
    for (let at = 0; at < this.samples.length; at += SAMPLES_PER_WINDOW)
      windows.push(Math.min(...this.samples.slice(at, at + SAMPLES_PER_WINDOW).map((sample) => sample[of])));
    const third = Math.max(1, Math.floor(windows.length / THIRDS));
    const [first, last] = [mean(windows.slice(0, third)), mean(windows.slice(-third))];
    const spanMs = (this.samples.at(-1)?.atMs ?? 0) - (this.samples[0]?.atMs ?? 0);
    // From the middle of the first third to the middle of the last.
    const hours = (spanMs * (THIRDS - 1)) / THIRDS / 3_600_000;
    return { first: round(first), last: round(last), perHour: round((last - first) / hours) };
  }
}

/** What a descriptor is of: "socket:[4711]". One that was closed since is of nothing. */
function target(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

/** Sockets of connections that come in at this port. */
function socketsAt(port: number): Set<string> {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = readFileSync("/proc/net/tcp", "utf8").split("\n");
  const columns = rows.map((row) => row.trim().split(/\s+/));
  return new Set(columns.filter(([, at]) => at?.endsWith(local)).map((row) => `socket:[${row[9]}]`));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
