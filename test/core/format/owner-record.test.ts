import { describe, expect, it } from "vitest";
import { formatOwnerRecord, parseOwnerRecord } from "../../../core/format/owner-record.ts";

const record = {
  campaign: "gala-2027",
  epoch: 1,
  shard: 3,
  journalId: "0123456789abcdef0123456789abcdef",
  host: "node-3",
};

describe("owner record", () => {
  it("comes back as it was written, on one line that ends", () => {
    const text = formatOwnerRecord(record);
    expect(text.indexOf("\n")).toBe(text.length - 1);
    expect(parseOwnerRecord(text)).toEqual({ format: "hongbao.owner.v1", ...record });
  });

  it.each([
    ["torn", formatOwnerRecord(record).slice(0, 40)],
    ["empty", ""],
    ["of another format", formatOwnerRecord(record).replace("owner.v1", "owner.v2")],
    ["with a journal that cannot be", formatOwnerRecord({ ...record, journalId: "xyz" })],
    ["with something more", JSON.stringify({ format: "hongbao.owner.v1", ...record, more: 1 })],
  ])("%s is none", (_, text) => {
    expect(parseOwnerRecord(text)).toBeUndefined();
  });
});
