/**
 * An attack under way: as many attacker processes as its sockets need, each with an address of its own.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { AttackerWord, AttackReport, Order } from "./attacker.ts";
import type { Attack } from "./attacks.ts";

const ATTACKER = fileURLToPath(new URL("./attacker.js", import.meta.url));
/** A process may have 20,000 files on many machines. */
const SOCKETS_A_PROCESS = 10_000;

export class Assault {
  /** Resolves when everything is under way: all sockets opened, all visits begun. */
  readonly begun: Promise<unknown>;
  /** Resolves when the node has closed all that was opened. */
  readonly free: Promise<unknown>;
  private readonly attackers: ChildProcess[] = [];

  /** @param seconds over which what is to be done is spread */
  constructor(attack: Attack, count: number, port: number, seconds: number) {
    const processes = Math.ceil(count / SOCKETS_A_PROCESS);
    for (let i = 0; i < processes; i++) {
      const share = Math.ceil(count / processes);
      const order: Order = {
        attack: attack.name,
        port,
        from: `127.0.0.${i + 2}`,
        count: share,
        perSecond: share / seconds,
      };
      this.attackers.push(fork(ATTACKER, [JSON.stringify(order)]));
    }
    this.begun = Promise.all(this.attackers.map((attacker) => heard(attacker, "begun")));
    this.free = Promise.all(this.attackers.map((attacker) => heard(attacker, "free")));
  }

  /** Ends it, once all visits are over: every socket is gone when this resolves. */
  async end(): Promise<AttackReport> {
    const reports = await Promise.all(this.attackers.map(ended));
    const endings: Record<string, number> = {};
    for (const report of reports)
      for (const [ending, n] of Object.entries(report.endings)) endings[ending] = (endings[ending] ?? 0) + n;
    return {
      endings,
      openMax: reports.reduce((sum, { openMax }) => sum + openMax, 0),
      bytesSent: reports.reduce((sum, { bytesSent }) => sum + bytesSent, 0),
    };
  }
}

async function ended(attacker: ChildProcess): Promise<AttackReport> {
  const exited = once(attacker, "exit");
  const report = heard(attacker, "report");
  attacker.send("end");
  const word = await Promise.race([report, exited.then(() => undefined)]);
  if (word?.is !== "report") throw new Error("an attacker died");
  await exited;
  return word;
}

function heard(attacker: ChildProcess, is: AttackerWord["is"]): Promise<AttackerWord> {
  return new Promise((resolve) => {
    attacker.on("message", (word: AttackerWord) => {
      if (word.is === is) resolve(word);
    });
  });
}
