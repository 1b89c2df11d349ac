/**
 * The connections that a node holds, so many and no more. When one comes too many, the one on which nothing happened
 * for longest (it came, it asked, it was answered) gives up its place: whoever asks at once is served, however many
 * others sit there and say nothing, or say it slowly. To refuse the newcomer would let them lock everybody else out.
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";

/** A gateway needs a few hundred. Each may cost 40 KiB while it is slow: 16 KiB of head, 16 KiB of body, and itself. */
const CONNECTIONS_MAX = 8_192;
/** Journal, seeds, queue, ledger questions: a node that cannot open a file stops, so strangers may not use these up. */
const FILES_RESERVED = 128;

export class Connections {
  private readonly max: number;
  /** The one that has been still for longest is first. */
  private readonly open = new Map<Socket, () => void>();
  private closed = 0;

  constructor(max: number) {
    this.max = max;
  }

  get size(): number {
    return this.open.size;
  }

  /** Connections that gave up their place. */
  get shed(): number {
    return this.closed;
  }

  /** A connection comes. */
  admit(socket: Socket): void {
    const [stillest] = this.open.keys();
    if (this.open.size >= this.max && stillest !== undefined && !this.open.has(socket)) {
      this.leave(stillest);
      this.closed++;
      stillest.destroy();
    }
    this.leave(socket);
    const gone = () => this.open.delete(socket);
    this.open.set(socket, gone);
    socket.once("close", gone);
  }

  /** It asked, or was answered. */
  renew(socket: Socket): void {
    const gone = this.open.get(socket);
    if (gone === undefined) return;
    this.open.delete(socket);
    this.open.set(socket, gone);
  }

  leave(socket: Socket): void {
    const gone = this.open.get(socket);
    if (gone === undefined) return;
    this.open.delete(socket);
    socket.off("close", gone);
  }
}

/** @returns how many connections this process may hold: fewer than it may open files, which is told by Linux only */
export function connectionsMax(): number {
  let limits = "";
  try {
    limits = readFileSync("/proc/self/limits", "utf8");
  } catch {
    return CONNECTIONS_MAX;
  }
  const filesMax = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  return Math.max(1, Math.min(CONNECTIONS_MAX, filesMax - FILES_RESERVED));
}
