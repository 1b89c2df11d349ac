import { constants, type PerformanceEntry, PerformanceObserver } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
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
