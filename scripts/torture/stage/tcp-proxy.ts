/**
 * A network that misbehaves, between programs and a server: it cuts connections in the middle of what is being
 * said, passes bytes late or few at a time, or takes them and passes nothing on. Every byte that it passes on is
 * a byte that it was given, in order: like TCP, it can lose the end of a stream, never its middle.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export type Direction = "to-server" | "to-client";

export interface Slowness {
  /** Each piece waits for this long before it goes on. */
  readonly delayMs: number;
  readonly bytesPerSecond: number;
}

/** A piece that is shorter is no frame worth cutting: Redis answers "+OK" in five bytes. */
const CUT_BYTES_MIN = 16;

interface ArmedCut {
  readonly direction: Direction;
  /** Where to cut a piece: 0 behind its first byte, 1 in front of its last. */
  readonly share: number;
  readonly done: () => void;
}

export class TcpProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #slowness: Slowness | undefined;
  #cut: ArmedCut | undefined;
  #silence: { readonly over: Promise<void>; readonly end: () => void } | undefined;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** @param serverPort on this machine */
  static async open(serverPort: number): Promise<TcpProxy> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const proxy = new TcpProxy(server, address.port);
    server.on("connection", (client) => proxy.#join(client, connect(serverPort, "127.0.0.1")));
    return proxy;
  }

  /** From now on everything goes slowly. */
  slow(slowness: Slowness): void {
    this.#slowness = slowness;
  }

  /** From now on nothing goes through, and nobody is told: connections stay, new ones are accepted. */
  silence(): void {
    let end = () => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#silence ??= { over, end };
  }

  /** The network is good again; what was held back goes on its way. */
  heal(): void {
    this.#slowness = undefined;
    this.#silence?.end();
    this.#silence = undefined;
  }

  /** Passes on a part of the next piece in this direction, and then cuts its connection. Resolves when done. */
  cutMidFrame(direction: Direction, share: number): Promise<void> {
    return new Promise((done) => {
      this.#cut = { direction, share, done };
    });
  }

  async close(): Promise<void> {
    this.heal();
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: Socket, server: Socket): void {
    const both = [client, server];
    const destroy = () => {
      for (const socket of both) socket.destroy();
    };
    for (const socket of both) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", destroy);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        destroy();
      });
    }
    this.#pump(client, server, "to-server", destroy);
    this.#pump(server, client, "to-client", destroy);
  }

  /** One piece at a time: the next one is read when this one has been passed on. */
  #pump(from: Socket, to: Socket, direction: Direction, destroy: () => void): void {
    from.on("data", (piece) => {
      from.pause();
      this.#pass(piece, to, direction, destroy).then(() => from.resume(), destroy);
    });
  }

  async #pass(piece: Buffer, to: Socket, direction: Direction, destroy: () => void): Promise<void> {
    const slowness = this.#slowness;
    if (slowness) await sleep(slowness.delayMs + (piece.length * 1000) / slowness.bytesPerSecond);
    await this.#silence?.over;
    const cut = this.#cut;
    if (cut?.direction !== direction || piece.length < CUT_BYTES_MIN) {
      await written(to, piece);
      return;
    }
    this.#cut = undefined;
    await written(to, piece.subarray(0, 1 + Math.floor(cut.share * (piece.length - 1))));
    destroy();
    cut.done();
  }
}

function written(to: Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    to.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
