/**
 * What strangers send: every attack as data, so that another one is another line. An attack either holds sockets
 * open at the node's cost, or visits: connects, sends, hears the answer and goes.
 *
 * `answers` is all that a node may reply: status codes, or "closed" where it may hang up without a word. Anything
 * else ("open": neither answered nor closed) is a violation.
 */
import { gzipSync } from "node:zlib";

export type Attack = Hold | Visit;

/** Sockets that are opened and kept; the node must be rid of them by itself within `freeMsMax`. */
export interface Hold {
  readonly kind: "hold";
  readonly name: string;
  readonly sockets: { readonly short: number; readonly full: number };
  readonly first: Buffer;
  /** One byte every two seconds, as slowly as a client may be. */
  readonly drip?: string;
  /** Never reads what is answered. */
  readonly deaf?: boolean;
  readonly freeMsMax: number;
}

export interface Visit {
  readonly kind: "visit";
  readonly name: string;
  readonly visits: { readonly short: number; readonly full: number };
  /** Sent by visit number `n`. */
  readonly bytes: (n: number) => Buffer;
  /** Sent again and again behind it, until the node hangs up. */
  readonly endless?: Buffer;
  /** Leaves with a reset instead of waiting for the answer. */
  readonly reset?: boolean;
  readonly answers: readonly string[];
}

/** Of server.ts: head, request and keep-alive limits, each with the time to notice and some for a busy machine. */
const SLACK_MS = 5_000;
const HEAD_FREE_MS = 5_000 + SLACK_MS;
const REQUEST_FREE_MS = 10_000 + SLACK_MS;
const KEEP_ALIVE_FREE_MS = 75_000 + SLACK_MS;

const LARGE_BYTES = 10 * 1024 * 1024;
const CHUNK = Buffer.concat([Buffer.from("4000\r\n"), Buffer.alloc(0x4000, "x"), Buffer.from("\r\n")]);
const HOSTILE = '{"user":"hostile","device":"d"}';

const hold = (
  name: string,
  full: number,
  freeMsMax: number,
  first: string | Buffer,
  more: Pick<Hold, "drip" | "deaf"> = {},
): Hold => ({
  kind: "hold",
  name,
  sockets: { short: Math.ceil(full / 50), full },
  first: Buffer.from(first),
  freeMsMax,
  ...more,
});

const visit = (
  name: string,
  full: number,
  answers: readonly string[],
  bytes: Buffer | string | ((n: number) => Buffer | string),
  more: Pick<Visit, "endless" | "reset"> = {},
): Visit => ({
  kind: "visit",
  name,
  visits: { short: Math.ceil(full / 50), full },
  answers,
  bytes: (n) => Buffer.from(typeof bytes === "function" ? bytes(n) : bytes),
  ...more,
});

export const ATTACKS: readonly Attack[] = [
  hold("silent sockets", 20_000, HEAD_FREE_MS, ""),
  hold("slow heads", 5_000, HEAD_FREE_MS, "POST /v1/shake HTTP/1.1\r\nhost: x\r\nx-slow: ", { drip: "y" }),
  hold("slow bodies", 5_000, REQUEST_FREE_MS, post("{", ["content-length: 9000"]), {
    drip: " ",
  }),
  hold("slow chunks", 1_000, REQUEST_FREE_MS, post("fff\r\n", ["transfer-encoding: chunked"]), { drip: " " }),
  hold(
    "slow show configs",
    1_000,
    REQUEST_FREE_MS,
    request("PUT", "/v1/show", Buffer.alloc(262_143, " "), ["content-length: 262144"]),
  ),
  hold("idle after an answer", 5_000, KEEP_ALIVE_FREE_MS, get("/healthz")),
  hold("never reading", 2_000, KEEP_ALIVE_FREE_MS, get("/openapi.json").repeat(16), { deaf: true }),
  hold("never reading and asking on", 40, SLACK_MS, get("/openapi.json").repeat(400), { deaf: true }),

  visit("declared too large", 1_000, ["413"], post(HOSTILE, [`content-length: ${LARGE_BYTES}`])),
  visit("chunked without end", 200, ["413", "closed"], post("", ["transfer-encoding: chunked"]), {
    endless: CHUNK,
  }),
  visit(
    "declared and sent too large",
    200,
    ["413", "closed"],
    request("POST", "/v1/open", "", ["content-length: 1073741824"]),
    { endless: CHUNK },
  ),
  visit(
    "length and chunks at once",
    1_000,
    ["400"],
    post(HOSTILE, ["transfer-encoding: chunked", "content-length: 5"]),
  ),
  visit("pipelined garbage", 1_000, ["200", "400"], `${get("/healthz")}\0\x01garbage \r\n\r\n`),
  visit("pipelined requests", 50, ["200"], get("/v1/show").repeat(16)),
  visit("500 pipelined requests", 50, ["200", "closed"], get("/v1/show").repeat(500)),
  visit("malformed JSON", 2_000, ["400"], (n) => post(HOSTILE.slice(0, n % HOSTILE.length))),
  visit("deep JSON", 1_000, ["400"], (n) => post((n % 2 ? "[" : '{"a":').repeat(3_000))),
  visit(
    "100,000 levels of JSON",
    500,
    ["400"],
    request("PUT", "/v1/show", "[".repeat(100_000) + "]".repeat(100_000)),
  ),
  visit(
    "100,000 levels where no show is",
    500,
    ["413", "closed"],
    post("[".repeat(100_000) + "]".repeat(100_000)),
  ),
  visit("duplicate keys", 1_000, ["200"], post('{"user":"hostile","user":"hostile-2","device":"d"}')),
  visit(
    "__proto__",
    1_000,
    ["400"],
    post('{"__proto__":{"user":"x","device":"d"},"constructor":{"prototype":1}}'),
  ),
  visit("huge numbers", 1_000, ["400"], (n) => post(`{"user":1e${n}99,"device":${"9".repeat(10_000)}}`)),
  visit(
    "invalid UTF-8",
    1_000,
    ["400"],
    post(Buffer.from('{"user":"\xff\xfe","device":"\xc0\xaf"}', "latin1")),
  ),
  visit("one header of 64 KiB", 1_000, ["431", "closed"], post(HOSTILE, [`x: ${"h".repeat(65_536)}`])),
  visit(
    "5,000 headers",
    1_000,
    ["431", "closed"],
    post(
      HOSTILE,
      Array.from({ length: 5_000 }, (_, i) => `x${i}: y`),
    ),
  ),
  visit(
    "300 headers",
    1_000,
    ["431"],
    post(
      HOSTILE,
      Array.from({ length: 300 }, (_, i) => `x${i}: y`),
    ),
  ),
  visit("an Idempotency-Key each", 5_000, ["200"], (n) => post(HOSTILE, [`idempotency-key: k${n}`])),
  visit("one Idempotency-Key for all", 5_000, ["200"], post(HOSTILE, ["idempotency-key: twin"])),
  visit("a long Idempotency-Key", 1_000, ["400"], post(HOSTILE, [`idempotency-key: ${"k".repeat(4_000)}`])),
  visit(
    "gzipped bodies",
    1_000,
    ["400"],
    post(gzipSync(Buffer.alloc(8_000_000)), ["content-encoding: gzip"]),
  ),
  visit("HTTP/1.0", 1_000, ["200"], "GET /v1/show HTTP/1.0\r\n\r\n"),
  visit("no host", 1_000, ["400"], "GET /v1/show HTTP/1.1\r\n\r\n"),
  visit("bad hosts and targets", 1_000, ["400", "404"], (n) =>
    n % 2 ? "GET /v1/show HTTP/1.1\r\nhost: a b\r\n\r\n" : "GET /../../%zz HTTP/1.1\r\nhost: x\r\n\r\n",
  ),
  visit("CONNECT", 1_000, ["closed", "400"], "CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n"),
  visit(
    "upgrade",
    1_000,
    ["404"],
    "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
  ),
  visit("no HTTP at all", 1_000, ["400"], Buffer.from("16030100fe010000fa0303\r\n\r\n")),
  visit("connect and reset", 5_000, [], get("/v1/show"), { reset: true }),
  visit("reset in a body", 5_000, [], post("{", ["content-length: 9000"]), { reset: true }),
  visit("forged show configs", 1_000, ["403"], request("PUT", "/v1/show", forgedShow())),
  visit("forged tokens", 5_000, ["400"], (n) => request("POST", "/v1/open", forgedOpen(n))),
  visit("scrapes of /metrics", 1_000, ["200"], get("/metrics")),
];

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;
}

function post(body: string | Buffer, headers: readonly string[] = []): Buffer {
  return request("POST", "/v1/shake", body, headers);
}

/** The body's length is declared unless `headers` declare another. */
function request(
  method: string,
  path: string,
  body: string | Buffer,
  headers: readonly string[] = [],
): Buffer {
  const isDeclared = headers.some((line) => /^(content-length|transfer-encoding)/.test(line));
  const lines = [...headers, ...(isDeclared ? [] : [`content-length: ${Buffer.byteLength(body)}`])];
  const head = `${method} ${path} HTTP/1.1\r\nhost: x\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.from(body)]);
}

/** As large as a config may be, with a signature that must be looked at. */
function forgedShow(): string {
  const signature = { role: "operator", sig: "A".repeat(86) };
  return JSON.stringify({ show: " ".repeat(60_000), signatures: [signature] });
}

function forgedOpen(n: number): string {
  const token = `EP${"A".repeat(58)}`;
  return JSON.stringify({ token, user: `h${n}`, device: "d", pass: "AQAB" });
}
