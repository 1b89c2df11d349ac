/**
 * From whatever was thrown to what the user is told: a code, one sentence on one line, and an exit code. What the
 * system refused (a full disk, a path below a file) is said in words; only a bug is an "internal error".
 */
import { HongbaoError, systemCode } from "../../core/format/error.ts";

export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly exitCode: 1 | 2;
}

export function refusalOf(error: unknown): Refusal {
  const known = error instanceof HongbaoError ? error : systemRefusal(error);
  if (known) return { code: known.code, message: oneLine(known.message), exitCode: known.exitCode };
  const message = error instanceof Error ? error.message : String(error);
  return { code: "internal_error", message: oneLine(`internal error: ${message}`), exitCode: 1 };
}

/** A message may quote a file or a name: what would move the cursor or break the line does not reach a terminal. */
export function oneLine(text: string): string {
  return text
    .trim()
    .replace(/\s+/g, " ")
    .replace(/\p{Cc}/gu, "\u{fffd}");
}

/** @returns undefined for what is no refusal of the system's, and so a bug */
function systemRefusal(error: unknown): HongbaoError | undefined {
  const code = systemCode(error);
  if (code === undefined || !(error instanceof Error) || !("syscall" in error)) return undefined;
  const place = "path" in error && typeof error.path === "string" ? error.path : "a file";
  const cause = { cause: error };
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return new HongbaoError(
        "unavailable",
        `${place} cannot be written, the disk is full (${code}): make room, then run the command again`,
        cause,
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new HongbaoError(
        "unavailable",
        `${place} may not be read or written by this user (${code}): check its owner and permissions`,
        cause,
      );
    case "ENOTDIR":
    case "EEXIST":
      return new HongbaoError(
        "invalid_config",
        `${place} cannot be a directory, a file is in the way (${code}): check the path, SEEDS_DIR, KEYS_DIR and DATA_DIR`,
        cause,
      );
    case "EISDIR":
      return new HongbaoError(
        "invalid_config",
        `${place} is a directory where a file is needed: check the path`,
        cause,
      );
    case "ENOENT":
      return new HongbaoError(
        "invalid_config",
        `${place} cannot be used, its directory does not exist: make it, or check the path`,
        cause,
      );
    case "EMFILE":
    case "ENFILE":
      return new HongbaoError(
        "unavailable",
        `too many files are open (${code}): raise the limit, see \`ulimit -n\``,
        cause,
      );
    default:
      return new HongbaoError(
        "unavailable",
        `the system refused to ${String(error.syscall)} ${place} (${code}): repair that, then run the command again`,
        cause,
      );
  }
}
