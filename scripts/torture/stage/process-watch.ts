/**
 * What the kernel says of a running program, memory and open files, and of the machine, from /proc (Linux).
 */
import { readdirSync, readFileSync, statSync } from "node:fs";

export function residentBytes(pid: number): number {
  return 1024 * Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** Linux before 6.2 does not say how many there are: they are counted, which takes milliseconds for thousands. */
export function openFiles(pid: number): number {
  const directory = `/proc/${pid}/fd`;
  return statSync(directory).size || readdirSync(directory).length;
}

/** Since when the machine's processors are watched, for how much of their time went to its neighbours. */
export class StolenTime {
  private readonly before = processorTicks();

  /** @returns 0 to 1: what a hypervisor gave to others of the time that programs here would have used or left idle */
  get share(): number {
    const { all, stolen } = processorTicks();
    return (stolen - this.before.stolen) / Math.max(1, all - this.before.all);
  }
}

/** Of all processors together: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)). */
function processorTicks(): { readonly all: number; readonly stolen: number } {
  const [, line = ""] = /^cpu +(.*)$/m.exec(readFileSync("/proc/stat", "utf8")) ?? [];
  const ticks = line.split(" ").slice(0, 8).map(Number);
  return { all: ticks.reduce((sum, n) => sum + n, 0), stolen: ticks[7] ?? 0 };
}
