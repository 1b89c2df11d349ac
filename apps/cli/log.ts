/**
 * The programs' log: one JSON line an event on stderr. Nothing secret is ever handed to it; that it would be
 * redacted here is not relied on.
 */
import { type Logger, pino } from "pino";
import type { GlobalFlags, Terminal } from "./command.ts";
import { logLevel } from "./settings.ts";

export function openLog(program: string, flags: GlobalFlags, terminal: Terminal): Logger {
  const options = {
    level: logLevel(flags.logLevel, terminal.env),
    base: { program },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  return pino(options, pino.destination({ fd: 2, sync: true }));
}
