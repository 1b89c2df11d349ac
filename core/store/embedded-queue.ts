/**
 * The parent's side of the embedded queue: a PostgreSQL in memory (PGlite) that `hongbao up` and `hongbao demo`
 * host for the nodes and the worker that they fork.
 *
 * PGlite has one session; many sockets share it. So what must always hold: a group of messages runs in one
 * piece, and while a transaction is open only the socket that began it is served. A child that dies, and a
 * transaction that stands idle, are rolled back. Notifications go to every socket, since anyone's LISTEN is
 * everybody's. Nothing survives a restart: the queue is lossy transport, and the journals are the truth.
 *
 * Trusts its children: they are our own programs on this machine.
 */
import type { ChildProcess } from "node:child_process";
import { PGlite } from "@electric-sql/pglite";
import type { ToChild, ToHost } from "./embedded-socket.ts";

export interface EmbeddedQueue {
  /** Serves a forked child. Call it in the same turn as `fork`, before the child can speak. */
  attach(child: ChildProcess): void;
  /** Breaks every child's sockets and frees the database; may be called again. Without it the process does not end. */
  close(): Promise<void>;
}

/** A transaction (only migrations use them) that has not gone on for this long is rolled back. */
const TRANSACTION_IDLE_MS_MAX = 15_000;

/** AuthenticationOk and ReadyForQuery: nobody logs in to his own parent. */
const GREETING = Buffer.from("5200000008000000005a0000000549", "hex").toString("base64");
const ROLLBACK = simpleQuery("ROLLBACK");
/**
 * PGlite has no background processes: dead rows and the write-ahead log would pile up in memory for ever
 * (measured: 120 MB for a thousand batches of 40 kB). So after every so many bytes we do their work.
 */
const TIDY = ["VACUUM bullmq.job, bullmq.event", "CHECKPOINT"].map(simpleQuery);
const TIDY_AFTER_BYTES = 16 * 1024 * 1024;
/** What a small message costs in the log, however few its bytes. */
const ASK_OVERHEAD_BYTES = 4 * 1024;
const WAL_LIMITS = ["max_wal_size=64MB", "min_wal_size=32MB", "full_page_writes=off"];
const TRANSACTION_OPEN: ReadonlySet<string> = new Set(["T", "E"]);

/** Takes three to four seconds and most of a gigabyte. */
export async function startEmbeddedQueue(): Promise<EmbeddedQueue> {
  const startParams = [...PGlite.defaultStartParams, ...WAL_LIMITS.flatMap((limit) => ["-c", limit])];
  return new EmbeddedDatabase(await PGlite.create("memory://", { startParams }));
}

interface Ask {
  readonly child: ChildProcess;
  readonly socket: number;
  readonly bytes: Buffer;
}

class EmbeddedDatabase implements EmbeddedQueue {
  readonly #database: PGlite;
  readonly #children = new Map<ChildProcess, () => void>();
  #asks: Ask[] = [];
  /** Who has a transaction open, with the clock that limits it. */
  #owner: { child: ChildProcess; socket: number; limit: NodeJS.Timeout } | undefined;
  #turn: NodeJS.Immediate | undefined;
  #closed: Promise<void> | undefined;
  #untidyBytes = 0;

  constructor(database: PGlite) {
    this.#database = database;
  }

  attach(child: ChildProcess): void {
    const onMessage = (message: unknown) => {
      if (isToHost(message)) this.#hear(child, message);
    };
    const detach = () => {
      child.off("message", onMessage).off("disconnect", detach).off("exit", detach);
      this.#children.delete(child);
      this.#forget(child, undefined);
    };
    child.on("message", onMessage).once("disconnect", detach).once("exit", detach);
    this.#children.set(child, detach);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    for (const [child, detach] of [...this.#children]) {
      post(child, { hongbaoQueue: "gone" });
      detach();
    }
    clearImmediate(this.#turn);
    await this.#database.close();
  }

  #hear(child: ChildProcess, message: ToHost): void {
    const { socket } = message;
    if (message.hongbaoQueue === "open") post(child, { hongbaoQueue: "answer", socket, bytes: GREETING });
    else if (message.hongbaoQueue === "close") this.#forget(child, socket);
    else {
      this.#asks.push({ child, socket, bytes: Buffer.from(message.bytes, "base64") });
      this.#schedule();
    }
  }

  /** One ask per turn of the loop, so that a busy queue does not starve the parent's own work. */
  #schedule(): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      const next = this.#takeNext();
      if (next === undefined) return;
      this.#serve(next);
      this.#schedule();
    });
  }

  #takeNext(): Ask | undefined {
    const owner = this.#owner;
    if (owner === undefined) return this.#asks.shift();
    const index = this.#asks.findIndex(
      ({ child, socket }) => child === owner.child && socket === owner.socket,
    );
    return index === -1 ? undefined : this.#asks.splice(index, 1)[0];
  }

  #serve({ child, socket, bytes }: Ask): void {
    const { answer, isOpen } = this.#run(bytes);
    this.#own(isOpen ? { child, socket } : undefined);
    post(child, { hongbaoQueue: "answer", socket, bytes: answer });
    this.#untidyBytes += bytes.length + ASK_OVERHEAD_BYTES;
    if (this.#untidyBytes > TIDY_AFTER_BYTES && !isOpen) this.#tidy();
  }

  #tidy(): void {
    this.#untidyBytes = 0;
    for (const query of TIDY) this.#run(query);
  }

  /** Runs a group; tells everybody the notifications in its reply and returns the rest. */
  #run(bytes: Buffer): { answer: string; isOpen: boolean } {
    const chunks: Buffer[] = [];
    // All of it happens within this call; the promise is for a disk, and there is none. The calls that return
    // the reply also parse it, and keep every message for ever.
    void this.#database.execProtocolRawStream(bytes, {
      syncToFs: false,
      onRawData: (chunk) => chunks.push(Buffer.from(chunk)),
    });
    const answer: Buffer[] = [];
    let status = "I";
    for (const { type, message } of splitMessages(Buffer.concat(chunks))) {
      if (type === "A") this.#tellAll(message);
      else answer.push(message);
      if (type === "Z") status = String.fromCharCode(message.readUInt8(message.length - 1));
    }
    return { answer: Buffer.concat(answer).toString("base64"), isOpen: TRANSACTION_OPEN.has(status) };
  }

  #tellAll(notification: Buffer): void {
    const bytes = notification.toString("base64");
    for (const child of this.#children.keys()) post(child, { hongbaoQueue: "tell", bytes });
  }

  #own(owner: { child: ChildProcess; socket: number } | undefined): void {
    clearTimeout(this.#owner?.limit);
    this.#owner = undefined;
    if (owner === undefined) return;
    const { child, socket } = owner;
    const limit = setTimeout(() => {
      post(child, { hongbaoQueue: "gone", socket });
      this.#forget(child, socket);
    }, TRANSACTION_IDLE_MS_MAX);
    this.#owner = { child, socket, limit };
  }

  /** Drops what a socket (or every socket of a child) still asks, and its open transaction with it. */
  #forget(child: ChildProcess, socket: number | undefined): void {
    const isHis = (of: { child: ChildProcess; socket: number }) =>
      of.child === child && (socket === undefined || of.socket === socket);
    this.#asks = this.#asks.filter((ask) => !isHis(ask));
    if (this.#owner === undefined || !isHis(this.#owner)) return;
    this.#own(undefined);
    this.#run(ROLLBACK);
    this.#schedule();
  }
}

function post(child: ChildProcess, message: ToChild): void {
  // A failed send means that the child is gone; its "exit" cleans up.
  if (child.connected) child.send(message, () => {});
}

function isToHost(message: unknown): message is ToHost {
  return typeof message === "object" && message !== null && "hongbaoQueue" in message;
}

/** The whole messages (type, length, body) of a reply, without copying them. */
function* splitMessages(bytes: Buffer): Generator<{ type: string; message: Buffer }> {
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + bytes.readUInt32BE(at + 1);
    yield { type: String.fromCharCode(bytes.readUInt8(at)), message: bytes.subarray(at, end) };
    at = end;
  }
}

function simpleQuery(sql: string): Buffer {
  const body = Buffer.from(`${sql}\0`);
  const head = Buffer.alloc(5);
  head.write("Q");
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
