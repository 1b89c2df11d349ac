/**
 * Where the queue lives, read once from QUEUE_URL.
 *
 * The URL may hold a password, so nothing here ever repeats it: neither an error (not even as its `cause`,
 * because Node's own "Invalid URL" error carries the whole input) nor the description for the log.
 */
import { HongbaoError } from "../format/error.ts";

export type QueueAddress =
  | { kind: "redis"; url: string }
  | { kind: "postgres"; url: string }
  | { kind: "embedded" }
  | { kind: "none" };

const REDIS_SCHEMES: ReadonlySet<string> = new Set(["redis:", "rediss:"]);
const POSTGRES_SCHEMES: ReadonlySet<string> = new Set(["postgres:", "postgresql:"]);

/**
 * @param url the value of QUEUE_URL; unset and empty mean the same.
 * @param embedded whether the process that started this one hosts a queue (`hongbao up`, `hongbao demo`).
 * @throws HongbaoError `invalid_queue_url` for anything that is not a usable URL.
 */
export function parseQueueAddress(url: string | undefined, embedded: boolean): QueueAddress {
  const text = url?.trim() ?? "";
  if (text === "") return { kind: embedded ? "embedded" : "none" };
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  if (parsed === undefined) throw refusal("it is not a URL");
  if (!isPercentEncoded(parsed.username) || !isPercentEncoded(parsed.password)) {
    throw refusal("its user name or password is not percent-encoded correctly");
  }
  if (REDIS_SCHEMES.has(parsed.protocol)) {
    if (parsed.hostname === "") throw refusal("it names no host");
    if (!/^\/?\d{0,5}$/.test(parsed.pathname))
      throw refusal("what follows the host is not a database number");
    return { kind: "redis", url: text };
  }
  if (POSTGRES_SCHEMES.has(parsed.protocol)) {
    // postgres:///name?host=/var/run/postgresql is the usual spelling of a Unix socket.
    if (parsed.hostname === "" && !parsed.searchParams.has("host")) throw refusal("it names no host");
    return { kind: "postgres", url: text };
  }
  throw refusal("it begins with something else");
}

/** @returns the address for logs and messages: scheme, host, port and database; never user, password or options. */
export function describeQueueAddress(address: QueueAddress): string {
  switch (address.kind) {
    case "none":
      return "no queue (QUEUE_URL is not set)";
    case "embedded":
      return "the embedded queue";
    default: {
      const { protocol, host, pathname } = new URL(address.url);
      return `${protocol}//${host}${pathname === "/" ? "" : pathname}`;
    }
  }
}

function refusal(reason: string): HongbaoError {
  const want = "redis://host:6379, rediss://host:6379 or postgres://user:password@host:5432/name";
  return new HongbaoError("invalid_queue_url", `QUEUE_URL is not usable: ${reason}. Write it as ${want}.`);
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
