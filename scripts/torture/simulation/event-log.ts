/**
 * What happened in one life, a line an event, hashed as it goes: two lives with one hash were the same life. The last
 * lines are kept, for the person who has to find out how a promise was broken.
 *
 * Nothing random that the seed does not give (a ledger's name, a key) may stand in a line.
 */
import { createHash } from "node:crypto";

const KEPT_LINES = 40;

export class EventLog {
  private readonly hash = createHash("sha256");
  private readonly nowMs: () => number;
  private kept: string[] = [];

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** @param who the part that it happened to: "node-0", "worker-1", "queue", "user-7" */
  add(who: string, what: string): void {
    const line = `${this.nowMs()} ${who} ${what}\n`;
    this.hash.update(line);
    this.kept.push(line);
    if (this.kept.length > 2 * KEPT_LINES) this.kept = this.kept.slice(-KEPT_LINES);
  }

  /** The newest lines, oldest first. */
  get tail(): string {
    return this.kept.slice(-KEPT_LINES).join("");
  }

  /** SHA-256 over all lines, hex; nothing can be added behind. */
  digest(): string {
    return this.hash.digest("hex");
  }
}
