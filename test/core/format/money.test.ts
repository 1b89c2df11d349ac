import { describe, expect, it } from "vitest";
import { BrokenInvariant } from "../../../core/format/error.ts";
import { addCents, cents, formatCents } from "../../../core/format/money.ts";

describe("money", () => {
  it("is a whole number of cents and stays one", () => {
    expect(addCents(cents(1), cents(2))).toBe(3);
    expect(cents(Number.MAX_SAFE_INTEGER)).toBe(Number.MAX_SAFE_INTEGER);
    for (const value of [-1, 0.5, Number.NaN, 2 ** 53]) expect(() => cents(value)).toThrow(BrokenInvariant);
    expect(() => addCents(cents(Number.MAX_SAFE_INTEGER), cents(1))).toThrow(
      "9007199254740992 is not an amount in cents",
    );
  });

  it.each([
    [0, "0.00"],
    [5, "0.05"],
    [100, "1.00"],
    [99_999, "999.99"],
    [8_888_800, "88,888.00"],
    [123_456_789_01, "123,456,789.01"],
    [-5, "-0.05"],
    [-123_456, "-1,234.56"],
  ])("%d cents are written %s for people", (amount, text) => {
    expect(formatCents(amount)).toBe(text);
  });
});
