/**
 * What every command is: a line of usage, its flags, and a function from arguments to an exit code. Commands
 * load their program when they run, so that `hongbao --help` loads none.
 */
import type { Argv } from "yargs";
import type { DirectoryFlags, Environment } from "./settings.ts";

/** 0 ok, 1 failed, 2 usage or invalid input, 3 the books do not balance. */
export type ExitCode = 0 | 1 | 2 | 3;

export interface Terminal {
  readonly env: Environment;
  /** Data: what a script reads. */
  out(text: string): void;
  /** Progress and warnings: what a person reads. */
  err(text: string): void;
  /** Says why the program cannot go on: one sentence, and with `--json` a document. */
  refuse(error: unknown): void;
  /** True if a person watches `err`. */
  readonly watched: boolean;
  /** Resolves at the first SIGTERM or SIGINT; a second one ends the process. */
  stopRequested(): Promise<void>;
}

export interface GlobalFlags extends DirectoryFlags {
  readonly json: boolean;
  readonly logLevel?: string | undefined;
}

export interface Command<Flags> {
  readonly usage: string;
  readonly describe: string | false;
  /** Declares what `run` receives; yargs gives kebab-case flags their camelCase names. */
  readonly flags: (argv: Argv<GlobalFlags>) => Argv<object>;
  readonly run: (flags: Flags & GlobalFlags, terminal: Terminal) => Promise<ExitCode>;
}
