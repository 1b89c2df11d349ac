/**
 * One attack: as many attacker processes as its sockets need, each with an address of its own. They are there,
 * idle, while the calm before is measured, so that it is the attack that makes the difference.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { AttackerWord, AttackReport, Command, Order } from "./attacker.ts";
import type { Attack } from "./attacks.ts";

const ATTACKER = fileURLToPath(new URL("./attacker.js", import.meta.url));
/** A process may have 20,000 files on many machines. */
const SOCKETS_A_PROCESS = 10_000;
/** Attackers are elsewhere: here they are to take only the processor time that nobody else wants (util-linux's chrt). */
const IDLE = { execPath: "chrt", execArgv: ["-i", "0", process.execPath] };
const BEGIN: Command = "begin";
const END: Command = "end";

export class Assault {
  readonly attack: Attack;
  /** Over which what is to be done is spread. */
  readonly seconds: number;
  private readonly attackers: readonly ChildProcess[];

  private constructor(attack: Attack, seconds: number, attackers: readonly ChildProcess[]) {
    this.attack = attack;
    this.seconds = seconds;
    this.attackers = attackers;
  }

  /**
   * Attackers that wait to be let loose.
   * @param seconds over which what is to be done is spread
   */
  static async prepare(attack: Attack, count: number, port: number, seconds: number): Promise<Assault> {
    const processes = Math.ceil(count / SOCKETS_A_PROCESS);
    const share = Math.ceil(count / processes);
    const attackers = Array.from({ length: processes }, (_, i) => {
      const from = `127.0.0.${i + 2}`;
      const order: Order = { attack: attack.name, port, from, count: share, perSecond: share / seconds };
      return fork(ATTACKER, [JSON.stringify(order)], IDLE);
    });
    await Promise.all(attackers.map((attacker) => heard(attacker, "ready")));
    return new Assault(attack, seconds, attackers);
  }

  /** @returns what resolves when all sockets are opened or all visits begun, and when the node has closed them all */
  begin(): { readonly begun: Promise<unknown>; readonly free: Promise<unknown> } {
    const begun = Promise.all(this.attackers.map((attacker) => heard(attacker, "begun")));
    const free = Promise.all(this.attackers.map((attacker) => heard(attacker, "free")));
    for (const attacker of this.attackers) attacker.send(BEGIN);
    return { begun, free };
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
  attacker.send(END);
  const word = await Promise.race([report, exited.then(() => undefined)]);
  if (word?.is !== "report") throw new Error(`an attacker died: ${attacker.exitCode ?? attacker.signalCode}`);
  // It goes when it is no longer listened to: of one that went by itself, the exit may be heard before the report.
  attacker.disconnect();
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
