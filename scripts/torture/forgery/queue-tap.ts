/**
 * Listens to a queue on Redis as anybody can who reaches the server: every batch that is put in (MONITOR) and every
 * acknowledgement that comes out (the stream of events).
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import type { RedisServer } from "../stage/redis-server.ts";

export interface TappedJob {
  /** base64url, as it stands in the job */
  readonly batch: string;
  readonly jobId: string;
}

/** A line of MONITOR shows each argument as a quoted text. */
const DATA = /"\{\\"batch\\":\\"([\w-]*)\\"\}"/;
const JOB_ID = /s\d+-[0-9a-f]{12}-\d+-\d+-[0-9a-f]{8}/;

export class QueueTap {
  /** Each batch once, however often it was sent. */
  private readonly batches = new Map<string, string>();
  private readonly server: RedisServer;
  private readonly queueName: string;
  private readonly socket: Socket;

  private constructor(server: RedisServer, queueName: string, socket: Socket) {
    this.server = server;
    this.queueName = queueName;
    this.socket = socket;
  }

  /** A socket of our own: ioredis loses its place when commands of others come between its own greetings. */
  static async open(server: RedisServer, queueName: string): Promise<QueueTap> {
    const socket = connect(server.port, "127.0.0.1");
    await once(socket, "connect");
    const tap = new QueueTap(server, queueName, socket);
    // Whoever kills the server ends the tap.
    socket.on("error", () => {});
    const lines = createInterface({ input: socket });
    const listening = once(lines, "line");
    lines.on("line", (line) => tap.hear(line));
    socket.write("MONITOR\r\n");
    await listening;
    return tap;
  }

  get jobs(): TappedJob[] {
    return [...this.batches].map(([batch, jobId]) => ({ batch, jobId }));
  }

  /** The acknowledgements that the stream still holds, as they stand in it (JSON). */
  async acknowledgements(): Promise<string[]> {
    const events = await this.server.ask((redis) => redis.xrange(`bull:${this.queueName}:events`, "-", "+"));
    return events.flatMap(([, fields]) => {
      const at = fields.indexOf("returnvalue");
      return at % 2 === 0 && fields[at + 1] !== undefined ? [fields[at + 1] ?? ""] : [];
    });
  }

  close(): void {
    this.socket.destroy();
  }

  /** A job is added by a script with its data and its ID among the arguments. */
  private hear(line: string): void {
    const batch = DATA.exec(line)?.[1];
    const jobId = JOB_ID.exec(line)?.[0];
    if (batch !== undefined && jobId !== undefined) this.batches.set(batch, jobId);
  }
}
