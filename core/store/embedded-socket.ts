/**
 * The child's side of the embedded queue: sockets for node-postgres that lead to the PGlite in the parent.
 *
 * A `pg.Pool` is given these sockets instead of TCP ones, so transactions, types, errors and LISTEN are
 * node-postgres' own. PostgreSQL's bytes travel as base64 in the IPC messages drawn below. What a client
 * pipelines goes over in one message, up to the Sync or Query that ends it: the parent has one session for
 * everybody and runs each such group in one piece.
 *
 * Trusts the parent. When the parent goes, every socket breaks as a TCP socket would. While no socket is open
 * the IPC channel does not keep this process alive.
 */
import { Duplex } from "node:stream";
import { HongbaoError } from "../format/error.ts";

/** Child to parent. `socket` numbers this child's sockets. */
export type ToHost =
  | { hongbaoQueue: "open"; socket: number }
  | { hongbaoQueue: "ask"; socket: number; bytes: string }
  | { hongbaoQueue: "close"; socket: number };

/** Parent to child. `answer` is for one socket; `tell` (a notification) for all; `gone` without a socket too. */
export type ToChild =
  | { hongbaoQueue: "answer"; socket: number; bytes: string }
  | { hongbaoQueue: "tell"; bytes: string }
  | { hongbaoQueue: "gone"; socket?: number };

/** Frontend messages that end a group: Query and Sync. */
const GROUP_ENDS: ReadonlySet<number> = new Set(Buffer.from("QS"));
const TERMINATE = 0x58;

const sockets = new Map<number, EmbeddedSocket>();
let lastSocket = 0;

/** @throws HongbaoError `queue_unavailable` if no process forked this one, so that nobody can host a queue for it. */
export function requireQueueHost(): void {
  if (process.send !== undefined) return;
  const how = "start it through `hongbao up` or `hongbao demo`, or set QUEUE_URL";
  throw new HongbaoError(
    "queue_unavailable",
    `The embedded queue lives in the process that forks this one: ${how}.`,
  );
}

/** @returns a socket to the parent's database, for node-postgres' `stream` option. */
export function openEmbeddedSocket(): Duplex {
  return new EmbeddedSocket();
}

class EmbeddedSocket extends Duplex {
  readonly #number = ++lastSocket;
  #greeted = false;
  #finished = false;
  #pending: Buffer[] = [];

  constructor() {
    super({ emitClose: true });
    if (sockets.size === 0) process.on("message", onMessage).on("disconnect", onDisconnect);
    sockets.set(this.#number, this);
  }

  /** As net.Socket: the parent's greeting takes the place of the start-up dialogue. */
  connect(): this {
    post({ hongbaoQueue: "open", socket: this.#number });
    process.nextTick(() => this.emit("connect"));
    return this;
  }

  /** What node-postgres also calls on a TCP socket and that means nothing here. */
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }

  /** What the parent sent; an answer may cross a socket that is closing. */
  deliver(bytes: string): void {
    if (!this.#finished && !this.destroyed) this.push(Buffer.from(bytes, "base64"));
  }

  override _read(): void {}

  /** node-postgres writes one whole message at a time, the start-up packet first. */
  override _write(message: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const type = message[0];
    if (!this.#greeted) {
      this.#greeted = true;
    } else if (type !== TERMINATE) {
      this.#pending.push(message);
      if (type !== undefined && GROUP_ENDS.has(type)) this.#ask();
    }
    done();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#finished = true;
    this.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    sockets.delete(this.#number);
    if (sockets.size === 0) process.off("message", onMessage).off("disconnect", onDisconnect);
    post({ hongbaoQueue: "close", socket: this.#number });
    done(error);
  }

  #ask(): void {
    const bytes = Buffer.concat(this.#pending).toString("base64");
    this.#pending = [];
    post({ hongbaoQueue: "ask", socket: this.#number, bytes });
  }
}

function post(message: ToHost): void {
  // A failed send means that the parent is gone; "disconnect" says so to every socket.
  process.send?.(message, undefined, undefined, () => {});
}

function onMessage(message: unknown): void {
  if (!isToChild(message)) return;
  if (message.hongbaoQueue === "answer") {
    sockets.get(message.socket)?.deliver(message.bytes);
  } else if (message.hongbaoQueue === "tell") {
    for (const socket of sockets.values()) socket.deliver(message.bytes);
  } else {
    breakSockets(message.socket);
  }
}

function onDisconnect(): void {
  breakSockets(undefined);
}

function breakSockets(only: number | undefined): void {
  for (const [number, socket] of [...sockets]) {
    if (only === undefined || only === number)
      socket.destroy(new Error("the process that hosts the queue is gone"));
  }
}

function isToChild(message: unknown): message is ToChild {
  return typeof message === "object" && message !== null && "hongbaoQueue" in message;
}
