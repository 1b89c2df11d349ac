/**
 * The attacker, a process of its own so that its work slows down nobody but the node: forked with an `Order`, it
 * begins when it is told to, says how far it is, and goes once its `AttackReport` was heard.
 */
import { connect, type Socket } from "node:net";
import { ATTACKS, type Hold, type Visit } from "./attacks.ts";

export interface Order {
  /** Name of the attack. */
  readonly attack: string;
  readonly port: number;
  /** Own address on the loopback net: one has only 28,000 ports towards a node. */
  readonly from: string;
  /** Sockets to hold, or visits to make. */
  readonly count: number;
  /** Visits or new sockets a second. */
  readonly perSecond: number;
}

export interface AttackReport {
  /** How the visits ended: a status code, "closed", "open". */
  readonly endings: Readonly<Record<string, number>>;
  /** Sockets that were open at one time, by this side's account. */
  readonly openMax: number;
  readonly bytesSent: number;
}

export type Command = "begin" | "end";

/** Ready: can begin. Begun: all of it is under way. Free: nothing of it is left at the node. */
export type AttackerWord =
  | { readonly is: "ready" | "begun" | "free" }
  | ({ readonly is: "report" } & AttackReport);

/** So short that what is spread over time does not come in bursts. */
const TICK_MS = 4;
/** Nor does what could not begin in time, because the machine had no time for attackers: this often the usual rate. */
const CATCH_UP = 2;
const DRIP_MS = 2_000;
const VISITS_AT_ONCE = 256;
const VISIT_MS_MAX = 15_000;
const HEARD_CHARS_MAX = 64 * 1024;

const order = JSON.parse(process.argv[2] ?? "") as Order;
const attack = ATTACKS.find(({ name }) => name === order.attack);
const endings: Record<string, number> = {};
const open = new Set<Socket>();
let openMax = 0;
let bytesSent = 0;
let begun = 0;

if (attack === undefined) throw new Error(`no attack is called ${order.attack}`);
const pursue = attack.kind === "hold" ? () => keep(attack) : () => pay(attack, begun);
const atOnce = attack.kind === "hold" ? order.count : VISITS_AT_ONCE;
process.on("message", (command: Command) => (command === "begin" ? begin() : end()));
process.on("disconnect", () => process.exit(0));
tell({ is: "ready" });

function begin(): void {
  const startedMs = performance.now();
  const burstMax = Math.ceil((CATCH_UP * order.perSecond * TICK_MS) / 1000);
  const beginning = setInterval(() => {
    const onTime = ((performance.now() - startedMs) / 1000) * order.perSecond;
    const due = Math.min(order.count, onTime, begun + burstMax);
    while (begun < due && open.size < atOnce) {
      pursue();
      begun++;
    }
    if (begun < order.count || [...open].some((socket) => socket.connecting)) return;
    clearInterval(beginning);
    tell({ is: "begun" });
    const freeing = setInterval(() => {
      if (open.size > 0) return;
      clearInterval(freeing);
      tell({ is: "free" });
    }, TICK_MS);
  }, TICK_MS);
}

function end(): void {
  const isDone = () => attack?.kind === "hold" || (begun >= order.count && open.size === 0);
  const ending = setInterval(() => {
    if (!isDone()) return;
    clearInterval(ending);
    tell({ is: "report", endings, openMax, bytesSent });
  }, TICK_MS);
}

/** To nobody, if the experiment is gone. */
function tell(word: AttackerWord): void {
  process.send?.(word, () => {});
}

function reach(): Socket {
  const socket = connect({ port: order.port, host: "127.0.0.1", localAddress: order.from });
  open.add(socket);
  openMax = Math.max(openMax, open.size);
  socket.on("error", () => {});
  socket.on("close", () => {
    bytesSent += socket.bytesWritten;
    open.delete(socket);
  });
  return socket;
}

function keep(hold: Hold): void {
  const socket = reach();
  if (hold.first.length > 0) socket.write(hold.first);
  if (hold.deaf) socket.pause();
  else socket.resume();
  if (hold.drip === undefined) return;
  const dripping = setInterval(() => socket.write(hold.drip ?? ""), DRIP_MS);
  socket.on("close", () => clearInterval(dripping));
}

function pay(visit: Visit, n: number): void {
  const socket = reach();
  if (visit.reset) {
    socket.write(visit.bytes(n), () => socket.resetAndDestroy());
    return;
  }
  let heard = "";
  let worst = "";
  let counted = false;
  const count = (ending: string) => {
    if (!counted) endings[ending] = (endings[ending] ?? 0) + 1;
    counted = true;
    // A clean end would keep the port for a minute, and honest users have only so many.
    socket.resetAndDestroy();
  };
  const timer = setTimeout(() => count("open"), VISIT_MS_MAX);
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    heard = (heard + text).slice(-HEARD_CHARS_MAX);
    for (const [, status = ""] of heard.matchAll(/HTTP\/1\.1 (\d{3}) /g)) if (status > worst) worst = status;
    // Who sends without end does not care for the answer.
    if (worst !== "" && visit.endless === undefined) count(worst);
  });
  socket.on("close", () => {
    clearTimeout(timer);
    count(worst || "closed");
  });
  socket.write(visit.bytes(n));
  if (visit.endless !== undefined) pour(socket, visit.endless);
}

/** Sends as fast as it is taken. */
function pour(socket: Socket, bytes: Buffer): void {
  const more = () => {
    while (!socket.destroyed && socket.write(bytes));
  };
  socket.on("drain", more);
  more();
}
