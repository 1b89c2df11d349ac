/**
 * Where the ledger lives, read once from LEDGER_URL: unset, a path or `sqlite:PATH`. PostgreSQL comes later.
 *
 * What is not recognised may be a URL with a password in it, so no refusal ever repeats the value.
 */
import { HongbaoError } from "../format/error.ts";

export interface LedgerAddress {
  readonly kind: "sqlite";
  readonly path: string;
}

const SCHEME = /^([^/\\]*?):/;
const WINDOWS_DRIVE = /^[A-Za-z]:[\\/]/;

/**
 * @param url the value of LEDGER_URL; unset and empty mean the same
 * @param ownPath the campaign's own ledger, used when nothing is set
 * @throws HongbaoError `invalid_ledger_url`
 */
export function parseLedgerAddress(url: string | undefined, ownPath: string): LedgerAddress {
  const text = url?.trim() ?? "";
  if (text === "") return { kind: "sqlite", path: ownPath };
  const path = pathOf(text);
  if (hasControlCharacter(path)) throw refusal("it holds a control character");
  if (path === ":memory:") throw refusal("books must lie in a file, not in memory");
  if (path === "" || /[/\\]$/.test(path)) throw refusal("it names no file");
  if (path.startsWith("//")) throw refusal("a path begins with one slash");
  return { kind: "sqlite", path };
}

function pathOf(text: string): string {
  const scheme = WINDOWS_DRIVE.test(text) ? undefined : SCHEME.exec(text)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined:
    case "":
      return text;
    case "sqlite": {
      const rest = text.slice("sqlite:".length);
      if (/[?#]/.test(rest)) throw refusal("a SQLite ledger takes no options");
      if (/^\/\/[^/]/.test(rest)) throw refusal("a SQLite ledger is a local file and has no host");
      return rest.replace(/^\/\/\//, "/");
    }
    case "postgres":
    case "postgresql":
      throw new HongbaoError(
        "invalid_ledger_url",
        "LEDGER_URL names a PostgreSQL server, but PostgreSQL ledgers are not available yet (later). " +
          "Give the path of a SQLite file, or leave LEDGER_URL unset.",
      );
    default:
      throw refusal("it is neither a path nor a sqlite: address");
  }
}

function hasControlCharacter(text: string): boolean {
  return [...text].some((character) => character < " " || character === "\x7f");
}

function refusal(reason: string): HongbaoError {
  return new HongbaoError(
    "invalid_ledger_url",
    `LEDGER_URL is not usable: ${reason}. Write it as a path such as ./data/ledger.db, or as sqlite:/var/lib/hongbao/ledger.db.`,
  );
}
