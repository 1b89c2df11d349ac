import { describe, expect, it } from "vitest";
import { HongbaoError } from "../../../core/format/error.ts";
import { isLedgerLocked, ledgerError } from "../../../core/store/ledger-error.ts";

const PATH = "/data/gala/ledger.db";
const said = (code: unknown, message = "so says SQLite") => Object.assign(new Error(message), { code });

describe("what SQLite says, for a person", () => {
  it.each([
    ["SQLITE_BUSY", "ledger_unavailable", /is locked by another program: end its transaction/],
    ["SQLITE_LOCKED_SHAREDCACHE", "ledger_unavailable", /is locked by another program/],
    ["SQLITE_FULL", "ledger_unavailable", /cannot grow, the disk is full: make room, then start again/],
    ["SQLITE_READONLY_DIRECTORY", "ledger_unavailable", /cannot be used by this user, who may not write it/],
    ["SQLITE_PERM", "ledger_unavailable", /cannot be used by this user, who may not write it/],
    ["SQLITE_AUTH", "ledger_unavailable", /cannot be used by this user, who may not write it/],
    ["SQLITE_CANTOPEN", "ledger_unavailable", /cannot be opened: check that this user may read and write/],
    ["SQLITE_IOERR_FSYNC", "ledger_unavailable", /could not be read or written \(SQLITE_IOERR_FSYNC\)/],
    ["SQLITE_NOTADB", "corrupt_ledger", /is not a SQLite database: set LEDGER_URL to another file/],
    ["SQLITE_CORRUPT_INDEX", "corrupt_ledger", /is damaged: keep the file, .*--replay/],
    [
      "SQLITE_CONSTRAINT_CHECK",
      "corrupt_ledger",
      /refuses an entry .*\(SQLITE_CONSTRAINT_CHECK\).*reconcile/,
    ],
    [
      "SQLITE_ERROR",
      "corrupt_ledger",
      /cannot be used \(so says SQLite\): it was changed by another program/,
    ],
    ["ENOTDIR", "ledger_unavailable", /cannot be reached \(ENOTDIR\): check the path/],
  ])("%s is %s", (code, refusal, sentence) => {
    const cause = said(code);
    const error = ledgerError(cause, PATH);
    expect(error).toMatchObject({ code: refusal, message: expect.stringMatching(sentence), cause });
    expect(error).toMatchObject({ message: expect.stringContaining(`the ledger ${PATH} `) });
    expect(isLedgerLocked(error)).toBe(/BUSY|LOCKED/.test(code));
  });

  it.each([
    ["a refusal of ours", new HongbaoError("ledger_mismatch", "another mint")],
    ["a bug of ours", new TypeError("undefined is not a function")],
    ["an error of some other library", said("ERR_INVALID_ARG_TYPE")],
    ["a code that is no text", said(7)],
    ["a word", "thrown"],
  ])("%s comes back as it is", (_, cause) => {
    expect(ledgerError(cause, PATH)).toBe(cause);
    expect(isLedgerLocked(cause)).toBe(false);
  });

  it("only a lock passes by itself", () => {
    expect(isLedgerLocked(new HongbaoError("ledger_unavailable", "of no known cause"))).toBe(false);
    expect(isLedgerLocked(said("SQLITE_BUSY"))).toBe(false);
  });
});
