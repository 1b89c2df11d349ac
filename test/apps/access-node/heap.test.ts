import { constants, type PerformanceEntry, PerformanceObserver } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { getHeapSpaceStatistics } from "node:v8";
import { afterEach, describe, expect, it, vi } from "vitest";
import { CONNECTION_BYTES, heap } from "../../../apps/access-node/heap.ts";

interface Collection {
  readonly kind: number;
  readonly flags: number;
}

const collections: Collection[] = [];
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries())
    collections.push((entry as PerformanceEntry & { detail: Collection }).detail);
});

afterEach(() => {
  observer.disconnect();
  collections.length = 0;
});

/** @returns how often somebody asked for a collection of the young generation, and of the whole heap */
async function asked(): Promise<{ minor: number; major: number }> {
  await sleep(10);
  const forced = collections.filter(({ flags }) => flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED);
  const minor = forced.filter(({ kind }) => kind === constants.NODE_PERFORMANCE_GC_MINOR).length;
  return { minor, major: forced.length - minor };
}

describe("the young generation", () => {
  it("is collected a little at a time while connections come", async () => {
    observer.observe({ entryTypes: ["gc"] });
    for (let i = 0; i < 320; i++) heap.came(CONNECTION_BYTES);
    await vi.waitFor(async () => expect(await asked()).toEqual({ minor: 10, major: 0 }));
  });

  it("is left to itself while little comes", async () => {
    heap.came(1024 * 1024);
    observer.observe({ entryTypes: ["gc"] });
    for (let i = 0; i < 31; i++) heap.came(CONNECTION_BYTES);
    expect(await asked()).toEqual({ minor: 0, major: 0 });
  });
});

describe("the old generation", () => {
  it("is not where everything is made, after an attack of which much stayed in use", () => {
    // V8 may happen to collect the old generation meanwhile, which hides it: so several times.
    const grownMiB = Array.from({ length: 6 }, () => {
      staying(400_000);
      // What is left of them is young: the first of these makes it older, the second old.
      for (let i = 0; i < 2; i++) heap.came(1024 * 1024);
      const before = oldBytes();
      passing(300_000);
      return (oldBytes() - before) / 2 ** 20;
    });
    expect(Math.max(...grownMiB)).toBeLessThan(5);
  });
});

/** One place in the code, from which some stay in use and some do not. */
function made(i: number): number[] {
  return [i, i, i, i];
}

function staying(count: number): void {
  const all: number[][][] = [];
  for (let i = 0; i < count; i += 1000) {
    const some: number[][] = [];
    for (let j = 0; j < 1000; j++) some.push(made(j));
    all.push(some);
  }
  expect(all.length).toBe(count / 1000);
}

function passing(count: number): void {
  const last: number[][] = [];
  for (let i = 0; i < count; i++) last[i % 8] = made(i);
  expect(last.length).toBe(8);
}

function oldBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === "old_space")?.space_used_size ?? 0;
}
