import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { BadBody, problem, readBody, shakeBody } from "../../../apps/access-node/bodies.ts";
import { CONNECTION_BYTES, heap } from "../../../apps/access-node/heap.ts";
import { type HttpServer, LIMITS, listen, type ServerLimits } from "../../../apps/access-node/server.ts";
import { signShow } from "../../../core/format/signature.ts";
import { readKeyFile } from "../../../core/store/keystore.ts";
import { mint } from "../../../scripts/torture/stage/minted.ts";

/** What strangers may cost a node, held against real sockets; the times are shorter than in a show. */
const PATIENCE = { timeout: 5_000, interval: 5 };
const QUICK: ServerLimits = { ...LIMITS, connections: 20 };
const MAIN = fileURLToPath(import.meta.resolve("#hongbao"));

let server: HttpServer;
/** Requests that came through to the app. */
let calls: number;
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server?.drain();
});

async function start(limits: Partial<ServerLimits> = {}): Promise<void> {
  calls = 0;
  const fetch = async (request: Request) => {
    calls++;
    try {
      if (request.method === "GET") return new Response("x".repeat(64 * 1024));
      return Response.json(
        await readBody(request, shakeBody, request.method === "PUT" ? 256 * 1024 : undefined),
      );
    } catch (error) {
      if (error instanceof BadBody) return problem(error.code);
      throw error;
    }
  };
  server = await listen(fetch, { port: 0, host: "127.0.0.1" }, { ...QUICK, ...limits });
}

interface Client {
  readonly socket: Socket;
  /** All that the server says until it hangs up. */
  readonly heard: Promise<string>;
}

async function client(bytes: string | Buffer = "", port = Number(new URL(server.url).port)): Promise<Client> {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  socket.on("error", () => {});
  await once(socket, "connect");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  const heard = new Promise<string>((resolve) => {
    socket.on("close", () => resolve(Buffer.concat(chunks).toString()));
  });
  socket.write(bytes);
  return { socket, heard };
}

/** Resolves once the server has answered something. */
async function answer({ socket }: Client): Promise<string> {
  const [first] = (await once(socket, "data")) as [Buffer];
  return first.toString();
}

const SHAKE = '{"user":"ann","device":"phone"}';
const ask = (method: string, headers: string, body = "") =>
  `${method} / HTTP/1.1\r\nhost: x\r\n${headers}\r\n${body}`;
const shake = ask("POST", `content-length: ${SHAKE.length}\r\n`, SHAKE);

describe("what strangers may cost a node", () => {
  it("a connection too many closes the one that was still for longest, and the newcomer is served", async () => {
    await start({ connections: 3 });
    const [asked, silent, slow] = [await client(), await client(), await client("POST / HTTP/1.1\r\n")];
    asked.socket.write(shake);
    expect(await answer(asked)).toContain("200 OK");
    const newcomer = await client(shake);
    expect(await answer(newcomer)).toContain("200 OK");
    expect(await silent.heard).toBe("");
    const next = await client(shake);
    expect(await answer(next)).toContain("200 OK");
    expect(await slow.heard).toBe("");
    asked.socket.write(shake);
    expect(await answer(asked)).toContain("200 OK");
    expect(server.connections).toMatchObject({ size: 3, shed: 2 });
  });

  it("a client that never ends its head, or never sends one, is sent away with 408", async () => {
    await start({ headMs: 200 });
    const [silent, slow] = [await client(), await client("GET / HTTP/1.1\r\nx: ")];
    expect(await silent.heard).toContain("408 Request Timeout");
    expect(await slow.heard).toContain("408 Request Timeout");
  });

  it("hundreds of clients that never send a head are not all sent away in one go", async () => {
    await start({ headMs: 700, connections: 300 });
    for (let i = 0; i < 300; i++) {
      await client();
      if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const most = server.connections.size;
    let atOnce = 0;
    for (let left = most; left > 0; ) {
      await new Promise((resolve) => setImmediate(resolve));
      atOnce = Math.max(atOnce, left - server.connections.size);
      left = server.connections.size;
    }
    expect(most).toBeGreaterThan(100);
    expect(atOnce).toBeLessThan(most / 2);
  });

  it("a client that never ends its body is sent away, however busily it sends", async () => {
    await start({ headMs: 200, requestMs: 400 });
    const slow = await client(ask("POST", "content-length: 9000\r\n"));
    const drip = setInterval(() => slow.socket.write(" "), 50);
    await slow.heard;
    clearInterval(drip);
  });

  it("a client that never reads its answers is closed", async () => {
    await start({ stillMs: 300 });
    const deaf = await client();
    deaf.socket.pause();
    deaf.socket.write(ask("GET", "").repeat(1_000));
    await expect.poll(() => server.connections.size, { timeout: 20_000 }).toBe(1);
    await expect.poll(() => server.connections.size, { timeout: 20_000 }).toBe(0);
  });

  it("answers that wait to be read are few: who asks on and on and reads nothing is closed at once", async () => {
    await start({ pipelined: 4 });
    const deaf = await client();
    deaf.socket.pause();
    deaf.socket.write(ask("GET", "").repeat(2_000));
    await vi.waitFor(() => expect(server.connections.size).toBe(0), PATIENCE);
    expect(calls).toBeLessThanOrEqual(4);
  });

  it("a thousand requests in one packet do not make a thousand errors with their stacks", async () => {
    await start({ pipelined: 4 });
    const { prepareStackTrace, stackTraceLimit } = Error;
    let stacks = 0;
    Error.prepareStackTrace = (error, frames) => {
      if (frames.length > 0) stacks++;
      return String(error);
    };
    try {
      const greedy = await client();
      greedy.socket.write(ask("GET", "").repeat(1_000));
      await vi.waitFor(() => expect(server.connections.size).toBe(0), PATIENCE);
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      Error.prepareStackTrace = prepareStackTrace;
    }
    expect(stacks).toBeLessThan(50);
    expect(Error.stackTraceLimit).toBe(stackTraceLimit);
  });

  it("a few requests at once are answered in their order", async () => {
    await start({ pipelined: 4 });
    const few = await client(
      shake + ask("GET", "") + shake + ask("PUT", "content-length: 2\r\nconnection: close\r\n", "{}"),
    );
    const statuses = [...(await few.heard).matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status);
    expect(statuses).toEqual(["200", "200", "200", "400"]);
    const again = await client();
    for (let i = 0; i < 10; i++) {
      again.socket.write(shake);
      expect(await answer(again)).toContain("200 OK");
    }
  });

  it("an idle connection is kept for the gateway, and closed in the end", async () => {
    await start({ keepAliveMs: 300 });
    const idle = await client(shake);
    expect(await idle.heard).toContain("200 OK");
  });

  it("a body without a length that never ends is answered with 413, and then no longer listened to", async () => {
    await start({ refusedBytes: 100_000 });
    const endless = await client(ask("POST", "transfer-encoding: chunked\r\n"));
    const chunk = `4000\r\n${"x".repeat(0x4000)}\r\n`;
    const pour = () => {
      while (!endless.socket.destroyed && endless.socket.write(chunk));
    };
    endless.socket.on("drain", pour);
    pour();
    expect(await endless.heard).toContain("413 Payload Too Large");
  });

  it("more headers than anybody needs are 431, and none is dropped without a word", async () => {
    await start();
    const lines = (n: number) => Array.from({ length: n }, (_, i) => `x${i}: y\r\n`).join("");
    const many = await client(ask("GET", lines(QUICK.headers)));
    expect(await answer(many)).toMatch(/431 .*head_too_large/s);
    const long = await client(ask("GET", `x: ${"y".repeat(QUICK.headBytes)}\r\n`));
    expect(await long.heard).toContain("431 Request Header Fields Too Large");
    const enough = await client(ask("GET", lines(QUICK.headers - 1)));
    expect(await answer(enough)).toContain("200 OK");
  });

  it("slow uploads take no more memory than a few of them: the oldest is closed", async () => {
    await start({ uploads: 2 });
    const slow = () => client(ask("PUT", "content-length: 200000\r\n", " ".repeat(150_000)));
    const first = await slow();
    const closed = first.heard;
    await slow();
    await slow();
    expect(await closed).toBe("");
    const quick = await client();
    for (let i = 0; i < 20; i++) {
      quick.socket.write(ask("PUT", `content-length: ${SHAKE.length}\r\n`, SHAKE));
      expect(await answer(quick)).toContain("200 OK");
    }
    expect(quick.socket.destroyed).toBe(false);
  });

  it("the collector is told of every connection, and of what comes of an upload", async () => {
    await start();
    const came = vi.spyOn(heap, "came");
    await client();
    await client(ask("PUT", "content-length: 200000\r\n", " ".repeat(150_000)));
    const heardBytes = () => came.mock.calls.reduce((sum, [bytes]) => sum + bytes, 0);
    await vi.waitFor(() => expect(heardBytes()).toBe(2 * CONNECTION_BYTES + 150_000), PATIENCE);
    came.mockRestore();
  });

  it("strangers who hold every connection leave the node the files that it needs", async () => {
    const minted = await mint();
    const { seedsDir, keysDir, dataDir } = minted.roots;
    const node = spawn(
      "sh",
      // biome-ignore format: one command
      ["-c", 'ulimit -n 256; exec "$0" "$@"', process.execPath, MAIN, "node", "--campaign", minted.campaign, "--shard", "0", "--port", "0", "--json"],
      {
        env: { ...process.env, SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir },
        stdio: ["ignore", "pipe", "ignore"],
      },
    );
    try {
      const { port } = new URL((await firstLine(node)).url);
      for (let i = 0; i < 400; i++) await client("", Number(port));
      const show = JSON.stringify({ campaign: minted.campaign, version: 1, rounds: [] });
      const sig = signShow(await readKeyFile("signing", minted.epochDir.of.operatorKey), show);
      const pushed = await fetch(`http://127.0.0.1:${port}/v1/show`, {
        method: "PUT",
        body: JSON.stringify({ show, signatures: [{ role: "operator", sig }] }),
      });
      expect(pushed.status).toBe(204);
    } finally {
      node.kill("SIGKILL");
      minted.remove();
    }
  });
});

async function firstLine(child: ChildProcess): Promise<{ url: string }> {
  if (child.stdout === null) throw new Error("no stdout");
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return JSON.parse(line.toString());
}
