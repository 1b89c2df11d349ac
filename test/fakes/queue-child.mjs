/**
 * A node or a worker reduced to its queue: one producer or one consumer of the embedded queue, driven over the
 * same IPC channel that carries the queue itself. Runs from dist, as the real programs do; see embedded-peers.ts.
 */
import { openBatchConsumer, openBatchProducer } from "../../dist/core/store/queue.js";

const [, , role, queueName] = process.argv;
const replies = new Map();
let lastCall = 0;

const tell = (message) => process.send({ peer: message }, undefined, undefined, () => {});
const encode = (bytes) => Buffer.from(bytes).toString("base64");
const decode = (text) => Buffer.from(text, "base64");

const trouble = (message) => tell({ event: "trouble", message });
const recovered = () => tell({ event: "recovered" });
const ack = (bytes) => tell({ event: "ack", bytes: encode(bytes) });

const peer =
  role === "producer"
    ? openBatchProducer({ kind: "embedded" }, queueName, { ack, trouble, recovered })
    : openBatchConsumer({ kind: "embedded" }, queueName, askParent, { trouble, recovered });

function askParent(batch) {
  return new Promise((resolve, reject) => {
    const call = ++lastCall;
    replies.set(call, { resolve, reject });
    tell({ event: "process", call, bytes: encode(batch) });
  });
}

const calls = {
  send: ({ jobId, bytes }) => peer.send(jobId, decode(bytes)),
  depth: () => peer.depth(),
  connected: () => peer.connected,
  close: async () => {
    await peer.close();
    // Nothing but this listener may keep the process alive now.
    process.off("message", onMessage);
  },
};

async function onMessage(message) {
  const request = message.toPeer;
  if (request === undefined) return;
  if (request.reply !== undefined) {
    const { resolve, reject } = replies.get(request.reply);
    if (request.error === undefined) resolve(decode(request.bytes));
    else reject(new Error(request.error));
    return;
  }
  try {
    tell({ event: "result", call: request.call, value: await calls[request.name](request) });
  } catch (error) {
    tell({ event: "result", call: request.call, error: error.message });
  }
}

process.on("message", onMessage);
