/**
 * Loaded into a program by `NODE_OPTIONS=--import`: its wall clock is then the machine's plus as many milliseconds
 * as stand in the file that `TORTURE_CLOCK` names (8 bytes, little-endian double), looked up at every reading. Only
 * `Date` is moved; timers and the monotonic clock go on, as they do when NTP steps a machine's clock. (libfaketime
 * also moves the monotonic clock or breaks timers, and would be one more thing to install.)
 */
import { openSync, readSync } from "node:fs";

const MachineDate = Date;
const offset = new DataView(new ArrayBuffer(8));
const file = openSync(process.env["TORTURE_CLOCK"] ?? "", "r");

function now(): number {
  readSync(file, offset, 0, 8, 0);
  return MachineDate.now() + offset.getFloat64(0, true);
}

globalThis.Date = new Proxy(MachineDate, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
  apply: () => new MachineDate(now()).toString(),
  get: (target, key, receiver) => (key === "now" ? now : Reflect.get(target, key, receiver)),
});
