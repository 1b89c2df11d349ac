/**
 * What SQLite says when it cannot go on, as a sentence for a person, and the one distinction that a worker
 * makes: a lock passes by and may be waited for; everything else stops the program, because after a failed
 * write or sync nobody knows what the disk holds.
 */
import { HongbaoError, messageOf, systemCode } from "../format/error.ts";

/** @returns the refusal that stands for `cause`; what is none of SQLite's own failures comes back as it is. */
export function ledgerError(cause: unknown, path: string): unknown {
  const code = systemCode(cause);
  if (cause instanceof HongbaoError || code === undefined) return cause;
  const unavailable = (why: string) =>
    new HongbaoError("ledger_unavailable", `the ledger ${path} ${why}`, { cause });
  if (/^E[A-Z]+$/.test(code))
    return unavailable(`cannot be reached (${code}): check the path and who may read and write there`);
  if (!code.startsWith("SQLITE_")) return cause;
  const corrupt = (why: string) => new HongbaoError("corrupt_ledger", `the ledger ${path} ${why}`, { cause });
  switch (code.split("_")[1]) {
    case "BUSY":
    case "LOCKED":
      return unavailable("is locked by another program: end its transaction (a sqlite3 shell? a backup?)");
    case "FULL":
      return unavailable("cannot grow, the disk is full: make room, then start again; nothing is lost");
    case "READONLY":
    case "PERM":
    case "AUTH":
      return unavailable(
        "cannot be used by this user, who may not write it or its directory: check who owns them, or read a copy",
      );
    case "CANTOPEN":
      return unavailable(
        "cannot be opened: check that this user may read and write the file and its directory",
      );
    case "IOERR":
      return unavailable(`could not be read or written (${code}): check the disk, then start again`);
    case "NOTADB":
      return corrupt("is not a SQLite database: set LEDGER_URL to another file, or restore a copy of it");
    case "CORRUPT":
      return corrupt(
        "is damaged: keep the file, restore a copy or start a new one, then run `hongbao credit --replay`",
      );
    case "CONSTRAINT":
      return corrupt(`refuses an entry that its rules forbid (${code}): run \`hongbao reconcile\``);
    default:
      return corrupt(
        `cannot be used (${messageOf(cause)}): it was changed by another program; restore a copy`,
      );
  }
}

/** True for the failures that pass by themselves: nothing was written, and trying again later is right. */
export function isLedgerLocked(error: unknown): boolean {
  if (!(error instanceof HongbaoError) || error.code !== "ledger_unavailable") return false;
  return /^SQLITE_(BUSY|LOCKED)/.test(systemCode(error.cause) ?? "");
}
