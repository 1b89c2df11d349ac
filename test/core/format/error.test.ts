import { describe, expect, it } from "vitest";
import {
  BrokenInvariant,
  HongbaoError,
  invariant,
  messageOf,
  systemCode,
} from "../../../core/format/error.ts";

describe("errors", () => {
  it("end the program with 2 for what the caller can correct, and with 1 for what failed", () => {
    expect(new HongbaoError("invalid_campaign", "x").exitCode).toBe(2);
    expect(new HongbaoError("ledger_mismatch", "x").exitCode).toBe(2);
    expect(new HongbaoError("journal_failed", "x").exitCode).toBe(1);
    expect(new HongbaoError("ledger_unavailable", "x").exitCode).toBe(1);
  });

  it("keep their cause, and no cause where there is none", () => {
    const cause = new Error("below");
    expect(new HongbaoError("usage", "x", { cause }).cause).toBe(cause);
    expect("cause" in new HongbaoError("usage", "x")).toBe(false);
  });

  it("a broken invariant is an error of its own kind, and says what should have held", () => {
    expect(() => invariant(false, "the sky is up")).toThrow(
      new BrokenInvariant("broken invariant: the sky is up"),
    );
    expect(() => invariant(true, "the sky is up")).not.toThrow();
  });

  it("say what was thrown, whatever it was", () => {
    expect(messageOf(new Error("no space left"))).toBe("no space left");
    expect(messageOf("no space left")).toBe("no space left");
    expect(messageOf(undefined)).toBe("undefined");
  });

  it("have a system code only if it is a text", () => {
    expect(systemCode(Object.assign(new Error(), { code: "ENOENT" }))).toBe("ENOENT");
    expect(systemCode(Object.assign(new Error(), { code: 7 }))).toBeUndefined();
    expect(systemCode(new Error("ENOENT"))).toBeUndefined();
    expect(systemCode({ code: "ENOENT" })).toBeUndefined();
  });
});
