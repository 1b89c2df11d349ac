import { describe, expect, it } from "vitest";
import { parseLedgerAddress } from "../../../core/store/ledger-address.ts";
import { refusal } from "./ledger-world.ts";

describe("LEDGER_URL", () => {
  it.each([
    [undefined, "/own.db"],
    ["", "/own.db"],
    ["  ", "/own.db"],
    ["./data/books.db", "./data/books.db"],
    ["books.db", "books.db"],
    ["/var/lib/a b?c.db", "/var/lib/a b?c.db"],
    ["sqlite:books.db", "books.db"],
    ["sqlite:/var/lib/books.db", "/var/lib/books.db"],
    ["sqlite:///var/lib/books.db", "/var/lib/books.db"],
    ["SQLite:/x.db", "/x.db"],
    ["C:\\books\\x.db", "C:\\books\\x.db"],
    ["dir/with:colon.db", "dir/with:colon.db"],
  ])("%j is the file %j", (url, path) => {
    expect(parseLedgerAddress(url, "/own.db")).toEqual({ kind: "sqlite", path });
  });

  it.each(["postgres://h/db", "postgresql://me:hunter2@h:5432/db"])("%j: not available yet", (url) => {
    const error = refusal(() => parseLedgerAddress(url, "/own.db"));
    expect(error.code).toBe("invalid_ledger_url");
    expect(error.message).toMatch(/PostgreSQL ledgers are not available yet/);
    expect(error.exitCode).toBe(2);
  });

  it.each([
    ["redis://:hunter2@h:6379", /neither a path nor a sqlite: address/],
    ["mysql://me:hunter2@h/db", /neither a path/],
    ["hunter2:x", /neither a path/],
    ["file:/x.db", /neither a path/],
    ["//me:hunter2@h/db", /one slash/],
    ["sqlite://hunter2/x.db", /no host/],
    ["sqlite:/x.db?mode=ro&hunter2", /no options/],
    ["sqlite:", /no file/],
    ["sqlite://", /no file/],
    ["/var/lib/", /no file/],
    [":memory:", /not in memory/],
    ["sqlite::memory:", /not in memory/],
    ["/x\ny.db", /control character/],
    ["/x\0y.db", /control character/],
  ])("%j is refused, and not repeated", (url, why) => {
    const error = refusal(() => parseLedgerAddress(url, "/own.db"));
    expect(error.code).toBe("invalid_ledger_url");
    expect(error.message).toMatch(why);
    expect(error.message).not.toMatch(/hunter2/);
    expect(error.cause).toBe(undefined);
  });
});
