/**
 * Producers and consumers of the embedded queue in forked processes, with the interfaces of those in this one,
 * so that the tests of the transport run on all three backends alike.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { EmbeddedQueue } from "../../core/store/embedded-queue.ts";
import type { BatchConsumer, BatchProducer, ProducerEvents } from "../../core/store/queue.ts";
import type { SessionEvents } from "../../core/store/queue-session.ts";

const SCRIPT = join(import.meta.dirname, "queue-child.mjs");
const BUILT = join(import.meta.dirname, "../../dist/core/store/queue.js");

type PeerEvent =
  | { event: "trouble"; message: string }
  | { event: "recovered" }
  | { event: "ack"; bytes: string }
  | { event: "process"; call: number; bytes: string }
  | { event: "result"; call: number; value?: unknown; error?: string };

interface Peer {
  readonly child: ChildProcess;
  call(name: string, args?: Record<string, unknown>): Promise<unknown>;
}

function start(
  queue: EmbeddedQueue,
  role: string,
  queueName: string,
  hear: (event: PeerEvent) => void,
): Peer {
  if (!existsSync(BUILT)) throw new Error("dist is missing: run `npm run build` before these tests");
  const child = fork(SCRIPT, [role, queueName]);
  queue.attach(child);
  const pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  child.on("message", ({ peer: event }: { peer?: PeerEvent }) => {
    if (event === undefined) return;
    if (event.event !== "result") return hear(event);
    const call = pending.get(event.call);
    pending.delete(event.call);
    if (event.error === undefined) call?.resolve(event.value);
    else call?.reject(new Error(event.error));
  });
  let lastCall = 0;
  return {
    child,
    call: (name, args = {}) =>
      new Promise((resolve, reject) => {
        const call = ++lastCall;
        pending.set(call, { resolve, reject });
        child.send({ toPeer: { call, name, ...args } });
      }),
  };
}

export interface ForkedProducer extends BatchProducer {
  readonly child: ChildProcess;
}

export function forkProducer(queue: EmbeddedQueue, queueName: string, on: ProducerEvents): ForkedProducer {
  let connected = false;
  const peer = start(queue, "producer", queueName, (event) => {
    if (event.event === "ack") on.ack(Buffer.from(event.bytes, "base64"));
    if (event.event === "trouble") on.trouble(event.message);
    if (event.event === "recovered") on.recovered();
  });
  return {
    child: peer.child,
    async send(jobId, batch) {
      await peer.call("send", { jobId, bytes: Buffer.from(batch).toString("base64") });
    },
    async depth() {
      return (await peer.call("depth")) as number | null;
    },
    /** As of the last time that somebody looked. */
    get connected() {
      peer.call("connected").then((value) => {
        connected = value === true;
      });
      return connected;
    },
    close: () => end(peer),
  };
}

export interface ForkedConsumer extends BatchConsumer {
  readonly child: ChildProcess;
}

export function forkConsumer(
  queue: EmbeddedQueue,
  queueName: string,
  process: (batch: Uint8Array) => Promise<Uint8Array>,
  on: SessionEvents,
): ForkedConsumer {
  const peer = start(queue, "consumer", queueName, (event) => {
    if (event.event === "process") void answer(event.call, event.bytes);
    if (event.event === "trouble") on.trouble(event.message);
    if (event.event === "recovered") on.recovered();
  });
  const answer = async (call: number, bytes: string) => {
    const reply = await process(Buffer.from(bytes, "base64")).then(
      (ack) => ({ bytes: Buffer.from(ack).toString("base64") }),
      (error: Error) => ({ error: error.message }),
    );
    if (peer.child.connected) peer.child.send({ toPeer: { reply: call, ...reply } });
  };
  return { child: peer.child, close: () => end(peer) };
}

/** Asks the child to close its end of the queue, then expects it to end by itself: nothing may keep it alive. */
async function end(peer: Peer): Promise<void> {
  const { child } = peer;
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  await Promise.race([peer.call("close"), exited]);
  const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
  const [code, signal] = await exited;
  clearTimeout(timer);
  if (code !== 0) throw new Error(`a closed peer did not end by itself (code ${code}, signal ${signal})`);
}
