import { describe, expect, it } from "vitest";
import { OffsetGate } from "../../../core/store/offset-gate.ts";

/** Everybody who waits, in the order in which the gate lets them through. */
function waiting(gate: OffsetGate, offsets: readonly number[]): number[] {
  const passed: number[] = [];
  for (const offset of offsets) gate.wait(offset).then(() => passed.push(offset));
  return passed;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("offset gate", () => {
  it("lets through in order those whose offset is reached, in whatever order they came", async () => {
    const gate = new OffsetGate(10);
    const passed = waiting(gate, [30, 20, 25, 40, 20, 10]);
    await turn();
    expect(passed).toEqual([10]);
    gate.advance(24);
    await turn();
    expect(passed).toEqual([10, 20, 20]);
    gate.advance(40);
    await turn();
    expect(passed).toEqual([10, 20, 20, 25, 30, 40]);
    expect(gate.reached).toBe(40);
  });

  it("gives all that wait for one offset one promise: a group commit wakes its group once", () => {
    const gate = new OffsetGate(0);
    const first = gate.wait(7);
    gate.wait(5);
    gate.wait(9);
    expect(gate.wait(7)).toBe(first);
  });

  it("never goes back", () => {
    const gate = new OffsetGate(10);
    gate.advance(5);
    expect(gate.reached).toBe(10);
  });

  it("once failed fails all that wait and all that come, but not those whose offset was reached", async () => {
    const gate = new OffsetGate(10);
    const waits = [gate.wait(11), gate.wait(12)];
    const broken = new Error("the disk is gone");
    gate.fail(broken);
    gate.fail(new Error("a second one"));
    for (const wait of waits) await expect(wait).rejects.toBe(broken);
    await expect(gate.wait(11)).rejects.toBe(broken);
    await expect(gate.wait(10)).resolves.toBeUndefined();
    gate.advance(12);
    expect(gate.reached).toBe(10);
  });
});
