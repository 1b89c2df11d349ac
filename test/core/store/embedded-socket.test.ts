import { once } from "node:events";
import type { Duplex } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openEmbeddedSocket, requireQueueHost, type ToHost } from "../../../core/store/embedded-socket.ts";
import { OwnChild } from "../../fakes/own-child.ts";

/** The bytes of PostgreSQL's protocol that matter here: a message begins with its type. */
const STARTUP = Buffer.from([0, 0, 0, 8, 0, 3, 0, 0]);
const PARSE = Buffer.from("P....");
const BIND = Buffer.from("B....");
const SYNC = Buffer.from("S....");
const QUERY = Buffer.from("Q....");
const TERMINATE = Buffer.from("X....");

let child: OwnChild;
const open: Duplex[] = [];
beforeEach(() => {
  child = new OwnChild();
});
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
  child.remove();
});

/** A socket that has been greeted, as node-postgres uses it, and its number at the host. */
async function connect(): Promise<{ socket: Duplex; number: number }> {
  const socket = openEmbeddedSocket() as Duplex & { connect(): Duplex };
  open.push(socket);
  const connected = once(socket, "connect");
  socket.connect();
  await connected;
  const opening = child.said.findLast(({ hongbaoQueue }) => hongbaoQueue === "open");
  if (opening === undefined) throw new Error("a socket tells the host that it opens");
  socket.write(STARTUP);
  return { socket, number: opening.socket };
}

const turn = () => new Promise((resolve) => setTimeout(resolve));
const base64 = (text: string) => Buffer.from(text).toString("base64");

function asked(number: number): string[] {
  return child.said.flatMap((message: ToHost) =>
    message.hongbaoQueue === "ask" && message.socket === number
      ? [Buffer.from(message.bytes, "base64").toString()]
      : [],
  );
}

/** What a socket was sent, as text. */
function heard(socket: Duplex): string[] {
  const texts: string[] = [];
  socket.on("data", (bytes: Buffer) => texts.push(bytes.toString()));
  return texts;
}

async function broken(socket: Duplex): Promise<string> {
  const [error] = await once(socket, "error");
  return error instanceof Error ? error.message : String(error);
}

describe("a socket to the embedded queue", () => {
  it("needs a process that forked this one", () => {
    expect(requireQueueHost).not.toThrow();
    const { send } = process;
    delete process.send;
    try {
      expect(requireQueueHost).toThrow(
        expect.objectContaining({
          code: "queue_unavailable",
          message: expect.stringMatching(/start it through `hongbao up` or `hongbao demo`, or set QUEUE_URL/),
        }),
      );
    } finally {
      if (send !== undefined) process.send = send;
    }
  });

  it("sends what is pipelined in one piece, up to the Sync or Query that ends it", async () => {
    const { socket, number } = await connect();
    for (const message of [PARSE, BIND]) socket.write(message);
    expect(asked(number)).toEqual([]);
    socket.write(SYNC);
    socket.write(QUERY);
    expect(asked(number)).toEqual(["P....B....S....", "Q...."]);
  });

  it("keeps start-up and farewell to itself", async () => {
    const { socket, number } = await connect();
    socket.write(TERMINATE);
    socket.write(QUERY);
    expect(asked(number)).toEqual(["Q...."]);
  });

  it("hears its own answers and everybody's notifications, and no other message of the parent", async () => {
    const [a, b] = [await connect(), await connect()];
    const [ofA, ofB] = [heard(a.socket), heard(b.socket)];
    child.send({ hongbaoQueue: "answer", socket: a.number, bytes: base64("for a") });
    child.send({ hongbaoQueue: "answer", socket: 1_000_000, bytes: base64("for nobody") });
    child.send({ hongbaoQueue: "tell", bytes: base64("for all") });
    for (const other of [{ toPeer: 1 }, null, "text"]) child.tell(other);
    await turn();
    expect(ofA).toEqual(["for a", "for all"]);
    expect(ofB).toEqual(["for all"]);
  });

  it("breaks when the host gives it up, and the others go on", async () => {
    const [a, b] = [await connect(), await connect()];
    const why = broken(a.socket);
    child.send({ hongbaoQueue: "gone", socket: a.number });
    expect(await why).toBe("the process that hosts the queue is gone");
    expect([a.socket.destroyed, b.socket.destroyed]).toEqual([true, false]);
  });

  it.each([
    ["closes the queue", () => child.send({ hongbaoQueue: "gone" })],
    ["goes away", () => child.disconnect()],
  ])("breaks with all others when the host %s", async (_, end) => {
    const [a, b] = [await connect(), await connect()];
    const both = Promise.all([broken(a.socket), broken(b.socket)]);
    end();
    expect(new Set(await both)).toEqual(new Set(["the process that hosts the queue is gone"]));
  });

  it("that was ended hears nothing more, and tells the host", async () => {
    const [a, b] = [await connect(), await connect()];
    const texts = heard(a.socket);
    const late = { hongbaoQueue: "answer", socket: a.number, bytes: base64("late") };
    a.socket.once("finish", () => child.tell(late));
    a.socket.end();
    await once(a.socket, "close");
    child.tell(late);
    await turn();
    expect(texts).toEqual([]);
    expect(child.said.at(-1)).toEqual({ hongbaoQueue: "close", socket: a.number });
    expect(b.socket.destroyed).toBe(false);
  });

  it("listens to the parent only while one is open: the channel keeps no process alive", async () => {
    const count = () => process.listenerCount("message");
    const before = count();
    const [a, b] = [await connect(), await connect()];
    expect(count()).toBe(before + 1);
    a.socket.destroy();
    expect(count()).toBe(before + 1);
    b.socket.destroy();
    await turn();
    expect(count()).toBe(before);
  });
});
