/**
 * The programs' log: one JSON line an event on stderr. Nothing secret is ever handed to it; that it would be
 * redacted here is not relied on.
 */
import { type Logger, pino } from "pino";
import { systemCode } from "../../core/format/error.ts";
import type { GlobalFlags, Terminal } from "./command.ts";
import { logLevel } from "./settings.ts";

export function openLog(program: string, flags: GlobalFlags, terminal: Terminal): Logger {
  const level = logLevel(flags.logLevel, terminal.env);
  const withStack = level === "debug" || level === "trace";
  const options = {
    level,
    serializers: { err: (error: unknown) => describe(error, withStack) },
    base: { program },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  const destination = pino.destination({ fd: 2, sync: true });
  // A log that cannot be written (a full disk, a reader that has gone) stops no program.
  destination.on("error", () => {});
  return pino(options, destination);
}

/** A stack trace is for bugs, and is shown to those who look for one. */
function describe(error: unknown, withStack: boolean): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const { message, stack } = error;
  return { code: systemCode(error), message, ...(withStack && { stack }) };
}
