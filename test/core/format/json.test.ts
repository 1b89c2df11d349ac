import { describe, expect, it } from "vitest";
import { z } from "zod";
import { BrokenInvariant } from "../../../core/format/error.ts";
import { canonicalJson, describeIssues } from "../../../core/format/json.ts";

function issues(schema: z.ZodType, value: unknown): string {
  const { error } = schema.safeParse(value);
  if (error === undefined) throw new Error("nothing was refused");
  return describeIssues(error);
}

describe("canonical JSON", () => {
  it("has one spelling for one value (RFC 8785)", () => {
    expect(canonicalJson({ b: [1.0, "é"], a: { d: null, c: 1e21 } })).toBe(
      '{"a":{"c":1e+21,"d":null},"b":[1,"é"]}',
    );
  });

  it("is not made of what JSON cannot say", () => {
    expect(() => canonicalJson(undefined)).toThrow(BrokenInvariant);
  });
});

describe("what a schema refused, in words", () => {
  const schema = z.strictObject({ count: z.int(), name: z.string().max(3), ads: z.array(z.number()) });

  it("names the place and what to do", () => {
    expect(issues(schema, { count: 0.5, ads: [1, "2"], extra: 1 })).toBe(
      "count: must be a whole number; name: is missing; ads.1: Invalid input: expected number, received string; " +
        'Unrecognized key: "extra": remove it, or correct its spelling',
    );
    expect(issues(schema, { count: 1, name: "four", ads: [] })).toMatch(/^name: Too big/);
    expect(issues(schema, "text")).toBe("Invalid input: expected object, received string");
  });

  it("stays short, however much is wrong and however long its names are", () => {
    const many = issues(z.array(z.number()), Array.from({ length: 50 }, String));
    expect(many.split("; ")).toHaveLength(10);
    const long = issues(z.strictObject({}), { ["x".repeat(1000)]: 1 });
    expect(long).toHaveLength(301);
    expect(long.endsWith("x…")).toBe(true);
  });
});
