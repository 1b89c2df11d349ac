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

/**
 * @returns time that a hypervisor has given to the machine's neighbours while programs here could have used it: of all
 *   processors together, in ticks of 10 ms since the machine was started (proc(5): the eighth figure is steal)
 */
export function stolenTicks(): number {
  const [, line = ""] = /^cpu +(.*)$/m.exec(readFileSync("/proc/stat", "utf8")) ?? [];
  return Number(line.split(" ")[7] ?? 0);
}
