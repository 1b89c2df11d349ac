import { describe, expect, it } from "vitest";
import { BufferPool } from "../../../apps/access-node/buffer-pool.ts";

describe("lent buffers", () => {
  it("come again once they were given back, also by who failed", async () => {
    const pool = new BufferPool(1024);
    const lent: Buffer[] = [];
    const failing = pool.lend(async (buffer) => {
      lent.push(buffer);
      throw new Error("the body ended early");
    });
    await expect(failing).rejects.toThrow("the body ended early");
    await pool.lend(async (buffer) => lent.push(buffer));
    expect(lent.map(({ length }) => length)).toEqual([1024, 1024]);
    expect(lent[1]).toBe(lent[0]);
  });

  it("belong to one at a time", async () => {
    const pool = new BufferPool(8);
    const both = await pool.lend(async (one) => await pool.lend(async (other) => [one, other]));
    expect(both[1]).not.toBe(both[0]);
  });
});
