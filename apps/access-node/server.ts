/**
 * The HTTP server under the app: bound before the node says that it is ready, drained before it stops. What a
 * client may cost it is limited here, in time, bytes and places: one that sends slowly costs a socket, not a worker.
 *
 * Requests on one connection are not counted: the gateway in front keeps its few connections for the whole show.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { HongbaoError, systemCode } from "../../core/format/error.ts";
import { problem } from "./bodies.ts";
import { Connections, connectionsMax } from "./connections.ts";
import { CONNECTION_BYTES, heap } from "./heap.ts";

export interface ServerLimits {
  /** Beyond it the one on which nothing happened for longest is closed. */
  readonly connections: number;
  /** The same for requests under way that may carry a show config, which is larger than all else. */
  readonly uploads: number;
  /** Requests of one connection whose answers it has not read: with one more it is closed. Gateways wait for each. */
  readonly pipelined: number;
  /** From the connection, or the end of the last request but for `keepAliveMs`, to the end of a head: 408, closed. */
  readonly headMs: number;
  /** From the first byte of a request to its last: 408, closed. */
  readonly requestMs: number;
  /** Without a byte moving, either way, while an answer is owed or not read: closed. */
  readonly stillMs: number;
  /** Between an answer and the next request. Longer than the gateway's (nginx: 60 s), so that it is never cut first. */
  readonly keepAliveMs: number;
  /** Of a request's line and headers together: 431, closed. */
  readonly headBytes: number;
  /** Lines: 431. */
  readonly headers: number;
  /** Read and thrown away of a body that was refused, so that its sender reads the refusal; then closed. */
  readonly refusedBytes: number;
}

export const LIMITS: Omit<ServerLimits, "connections"> = {
  uploads: 64,
  pipelined: 16,
  headMs: 5_000,
  requestMs: 10_000,
  stillMs: 30_000,
  keepAliveMs: 75_000,
  headBytes: 16 * 1024,
  headers: 100,
  refusedBytes: 2 * 1024 * 1024,
};

/** How often overdue connections are looked for: those of a second, closed all at once, made everyone else wait. */
const CHECK_MS = 10;
/** Connections that the kernel may hold back while the node is busy. */
const BACKLOG = 4_096;
const DRAIN_MS_MAX = 10_000;

type Fetch = (request: Request) => Response | Promise<Response>;

export interface HttpServer {
  readonly url: string;
  readonly connections: Connections;
  /** Takes no connection more, lets requests under way be answered, and closes what stays open for 10 seconds. */
  drain(): Promise<void>;
}

/** @throws HongbaoError `port_taken`, `invalid_config` */
export async function listen(
  fetch: Fetch,
  at: { readonly port: number; readonly host: string },
  limits: ServerLimits = { ...LIMITS, connections: connectionsMax() },
): Promise<HttpServer> {
  const connections = new Connections(limits.connections);
  let draining = false;
  const answer = guarded(fetch, connections, limits);
  const drainable = async (request: Request, env: HttpBindings) => {
    const response = await answer(request, env);
    if (draining) response.headers.set("connection", "close");
    return response;
  };
  const server = limitedServer(drainable, at.host, limits);
  server.on("connection", (socket) => {
    connections.admit(socket);
    heap.came(CONNECTION_BYTES);
  });
  await bound(server, at);
  const host = at.host.includes(":") ? `[${at.host}]` : at.host;
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    connections,
    drain: async () => {
      draining = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const deadline = setTimeout(() => server.closeAllConnections(), DRAIN_MS_MAX);
      await closed;
      clearTimeout(deadline);
    },
  };
}

function limitedServer(
  fetch: (request: Request, env: HttpBindings) => Promise<Response>,
  hostname: string,
  limits: ServerLimits,
): Server {
  const serve = getRequestListener((request, env) => fetch(request, env as HttpBindings), { hostname });
  const options = {
    headersTimeout: limits.headMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: CHECK_MS,
    maxHeaderSize: limits.headBytes,
  };
  const server = createServer(options, refusingPipelines(serve, limits.pipelined));
  server.timeout = limits.stillMs;
  // One more than allowed, to see that there are too many: the parser drops the rest without a word.
  server.maxHeadersCount = limits.headers + 1;
  return server;
}

/**
 * Closes the connection on which more answers wait to be read than `unreadMax`: they wait in memory, and a client
 * may ask for a thousand in one packet. What that packet still asks for is dropped before anything is made of it.
 */
function refusingPipelines(serve: RequestListener, unreadMax: number): RequestListener {
  const unread = new WeakMap<Socket, number>();
  return (incoming, outgoing) => {
    const { socket } = incoming;
    if (socket.destroyed) return;
    const waiting = unread.get(socket) ?? 0;
    if (waiting >= unreadMax) {
      destroyCheaply(socket);
      return;
    }
    unread.set(socket, waiting + 1);
    outgoing.once("close", () => unread.set(socket, (unread.get(socket) ?? 0) - 1));
    serve(incoming, outgoing);
  };
}

/** Holds every request against the limits that the parser does not know. */
function guarded(fetch: Fetch, connections: Connections, limits: ServerLimits) {
  const uploads = new Connections(limits.uploads);
  return async (request: Request, { incoming }: HttpBindings): Promise<Response> => {
    const { socket } = incoming;
    if (incoming.rawHeaders.length > 2 * limits.headers)
      return problem("head_too_large", `a request may have at most ${limits.headers} headers`);
    connections.renew(socket);
    if (incoming.method === "PUT") uploads.admit(socket);
    const response = await fetch(request);
    uploads.leave(socket);
    connections.renew(socket);
    if (response.status === 413) cutOff(incoming, limits.refusedBytes);
    return response;
  };
}

/**
 * Node makes an error for each request that a closed connection leaves behind, and formats its stack, which nobody
 * reads: half of what a thousand of them cost.
 */
function destroyCheaply(socket: Socket): void {
  const { stackTraceLimit } = Error;
  // The server's own listener, which makes them, stands between these two.
  socket.prependOnceListener("close", () => {
    Error.stackTraceLimit = 0;
  });
  socket.once("close", () => {
    Error.stackTraceLimit = stackTraceLimit;
  });
  socket.destroy();
}

/** The adapter throws away the rest of a refused body for half a second: at full speed that is a lot of work. */
function cutOff(incoming: IncomingMessage, bytesMax: number): void {
  const { socket } = incoming;
  const endBytes = socket.bytesRead + bytesMax;
  const look = () => {
    if (socket.bytesRead < endBytes) return;
    incoming.off("data", look);
    socket.destroySoon();
  };
  incoming.on("data", look);
}

async function bound(server: Server, at: { readonly port: number; readonly host: string }): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("listening", resolve);
      server.once("error", reject);
      server.listen({ port: at.port, host: at.host, backlog: BACKLOG });
    });
  } catch (cause) {
    const code = systemCode(cause);
    const place = `port ${at.port} on ${at.host}`;
    if (code === "EADDRINUSE")
      throw new HongbaoError("port_taken", `${place} is taken: choose another with --port`, { cause });
    throw new HongbaoError("invalid_config", `cannot listen on ${place} (${code}): choose another`, {
      cause,
    });
  }
}
