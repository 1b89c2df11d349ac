import { describe, expect, it } from "vitest";
import { blob, integer, text } from "../../../core/store/ledger-row.ts";

const row = { whole: 7, half: 0.5, beyond: 2 ** 53, name: "ann", id: Buffer.alloc(16), none: null };
const corrupt = (sentence: string) => expect.objectContaining({ code: "corrupt_ledger", message: sentence });

describe("a field of a row that anybody may have changed", () => {
  it("is given if it is what it should be", () => {
    expect([integer(row, "whole"), text(row, "name"), blob(row, "id", 16)]).toEqual([7, "ann", row.id]);
  });

  it.each(["half", "beyond", "name", "none", "gone"])("%s is no whole number", (field) => {
    expect(() => integer(row, field)).toThrow(
      corrupt(`the ledger holds a value of ${field} that is not a whole number`),
    );
  });

  it.each(["whole", "id", "none", "gone"])("%s is no text", (field) => {
    expect(() => text(row, field)).toThrow(
      corrupt(`the ledger holds a value of ${field} that is not a text`),
    );
  });

  it.each([
    ["name", 3],
    ["id", 15],
    ["id", 17],
    ["none", 0],
  ])("%s does not have %d bytes", (field, bytes) => {
    expect(() => blob(row, field, bytes)).toThrow(
      corrupt(`the ledger holds a value of ${field} that does not have ${bytes} bytes`),
    );
  });
});
