/**
 * The HTTP server under the app: bound before the node says that it is ready, drained before it stops. A client
 * that sends slowly costs a socket, not a worker.
 */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { HongbaoError, systemCode } from "../../core/format/error.ts";

const HEAD_MS_MAX = 10_000;
const REQUEST_MS_MAX = 20_000;
const CHECK_MS = 5_000;
const DRAIN_MS_MAX = 10_000;

export interface HttpServer {
  readonly url: string;
  /** Takes no connection more, lets requests under way be answered, and closes what stays open for 10 seconds. */
  drain(): Promise<void>;
}

/** @throws HongbaoError `port_taken`, `invalid_config` */
export async function listen(
  fetch: (request: Request) => Response | Promise<Response>,
  at: { readonly port: number; readonly host: string },
): Promise<HttpServer> {
  let draining = false;
  const answer = async (request: Request) => {
    const response = await fetch(request);
    if (draining) response.headers.set("connection", "close");
    return response;
  };
  const serverOptions = {
    headersTimeout: HEAD_MS_MAX,
    requestTimeout: REQUEST_MS_MAX,
    connectionsCheckingInterval: CHECK_MS,
  };
  const server = serve({ fetch: answer, port: at.port, hostname: at.host, serverOptions }) as Server;
  await bound(server, at);
  const host = at.host.includes(":") ? `[${at.host}]` : at.host;
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
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

async function bound(server: Server, at: { readonly port: number; readonly host: string }): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("listening", resolve);
      server.once("error", reject);
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
