/**
 * This process as its own forked child: both sides of the embedded queue run here, with memory in place of the
 * channel between two processes, so that a test sees every message and decides when the channel breaks.
 */
import type { ChildProcess } from "node:child_process";
import { EventEmitter } from "node:events";
import type { ToChild, ToHost } from "../../core/store/embedded-socket.ts";

type Send = NonNullable<typeof process.send>;

export class OwnChild extends EventEmitter {
  connected = true;
  /** All that the child's side has said. */
  readonly said: ToHost[] = [];
  private readonly channel = process.send;
  /** Those of the test runner, who talks to this process as well. */
  private readonly others = new Set([...process.listeners("message"), ...process.listeners("disconnect")]);

  /** From now on what this process says to its parent comes here, until `remove`. */
  constructor() {
    super();
    const send = (message: ToHost): boolean => {
      this.said.push(message);
      setImmediate(() => this.emit("message", message));
      return true;
    };
    process.send = send as Send;
  }

  /** The child as its host knows it. */
  get process(): ChildProcess {
    return this as unknown as ChildProcess;
  }

  /** The host's word to the child. */
  send(message: ToChild): boolean {
    setImmediate(() => this.tell(message));
    return true;
  }

  /** Whatever somebody may send to the child, at once. */
  tell(message: unknown): void {
    for (const listener of process.listeners("message"))
      if (!this.others.has(listener)) listener(message, undefined);
  }

  /** The channel breaks: the child loses its parent, and the host its child. */
  disconnect(): void {
    this.connected = false;
    for (const listener of process.listeners("disconnect")) if (!this.others.has(listener)) listener();
    this.emit("disconnect");
  }

  /** Gives the process its own parent back, or none if it had none. */
  remove(): void {
    if (this.channel === undefined) delete process.send;
    else process.send = this.channel;
  }
}
