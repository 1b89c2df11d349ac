/**
 * What the kernel says of a running program: memory and open files, from /proc (Linux).
 */
import { readdirSync, readFileSync } from "node:fs";

export function residentBytes(pid: number): number {
  return 1024 * Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

export function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
