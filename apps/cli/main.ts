#!/usr/bin/env node
/**
 * `hongbao`: one command for every program of a campaign. Here and nowhere else live the process's environment,
 * console, signals and exit code. Errors become one clear sentence and a documented code; a stack trace is for
 * bugs and is shown only at LOG_LEVEL=debug.
 */
import yargs, { type Argv } from "yargs";
import { HongbaoError, systemCode } from "../../core/format/error.ts";
import { checkArguments, checkNumbers, usageSentence } from "./arguments.ts";
import type { Command, ExitCode, GlobalFlags, Terminal } from "./command.ts";
import { approveCommand } from "./commands/approve.ts";
import { creditCommand } from "./commands/credit.ts";
import { crowdCommand } from "./commands/crowd.ts";
import { demoCommand } from "./commands/demo.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { generateCommand } from "./commands/generate.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { keysCommand } from "./commands/keys.ts";
import { nodeCommand } from "./commands/node.ts";
import { reconcileCommand } from "./commands/reconcile.ts";
import { showCommand } from "./commands/show.ts";
import { upCommand } from "./commands/up.ts";
import { refusalOf } from "./refusal.ts";
import { FLEET } from "./settings.ts";

let unwritten: Error | undefined;
process.stdout.on("error", (error) => {
  unwritten ??= error;
});
process.stderr.on("error", () => {});

const exitCode = await main(process.argv.slice(2), processTerminal(process.argv.includes("--json")));
// Sockets of a dead queue or a client that never reads must not keep a finished program alive.
process.stdout.write("", (error) => {
  unwritten ??= error ?? undefined;
  // Whoever reads no further (`| head`) has what it wanted; an answer that a full disk swallowed is a failure.
  if (unwritten === undefined || systemCode(unwritten) === "EPIPE") process.exit(exitCode);
  process.stderr.write(`hongbao: the answer could not be written to stdout: ${unwritten.message}\n`);
  process.exit(exitCode === 0 ? 1 : exitCode);
});

async function main(args: string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = 0;
  const usages: string[] = [];
  const parser = yargs(args)
    .scriptName("hongbao")
    .usage(
      "$0 COMMAND\n\nIssues a campaign's money as sealed tokens, hands them out once, credits and accounts for every cent.",
    )
    .option("json", { type: "boolean", default: false, describe: "One JSON document on stdout" })
    .option("seeds-dir", { type: "string", describe: "Sealed tokens and manifests [SEEDS_DIR, ./seeds]" })
    .option("keys-dir", { type: "string", describe: "Key files [KEYS_DIR, ./keys]" })
    .option("data-dir", { type: "string", describe: "Journals and ledger [DATA_DIR, ./data]" })
    .option("log-level", { type: "string", describe: "trace … fatal, silent [LOG_LEVEL, info]" })
    .demandCommand(1, "Name a command.")
    .strict()
    .wrap(110)
    .version(false)
    .epilogue("Exit codes: 0 ok, 1 failed, 2 usage or invalid input, 3 the books do not balance.")
    .exitProcess(false)
    .fail((complaint: string | null, error: Error | undefined) => {
      if (error !== undefined && error.name !== "YError") throw error;
      throw new HongbaoError("usage", usageSentence(complaint ?? error?.message ?? "", args, usages));
    }) as Argv<GlobalFlags>;
  const add = <Flags>({ usage, describe, flags, run }: Command<Flags>) => {
    usages.push(usage);
    parser.command(usage, describe as string, flags, async (parsed) => {
      checkArguments(args);
      checkNumbers(parsed);
      exitCode = await run(parsed as unknown as Flags & GlobalFlags, terminal);
    });
  };
  add(generateCommand);
  add(approveCommand);
  add(keysCommand);
  add(upCommand);
  add(nodeCommand);
  add(creditCommand);
  add(showCommand);
  add(reconcileCommand);
  add(inspectCommand);
  add(doctorCommand);
  add(demoCommand);
  add(crowdCommand);
  try {
    await parser.parseAsync();
    return exitCode;
  } catch (error) {
    return await refuse(error, terminal);
  }
}

/** A program of a fleet tells its parent, which says it for both. */
async function refuse(error: unknown, terminal: Terminal): Promise<ExitCode> {
  const { message, exitCode } = refusalOf(error);
  const { send } = process;
  if (terminal.env[FLEET] === "1" && send !== undefined)
    await new Promise((told) => send.call(process, { hongbaoRefused: { message, exitCode } }, told));
  else terminal.refuse(error);
  return exitCode;
}

function processTerminal(json: boolean): Terminal {
  const refuse = (error: unknown): void => {
    const { code, message } = refusalOf(error);
    if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
    process.stderr.write(`hongbao: ${message}\n`);
    if (process.env["LOG_LEVEL"] === "debug" && error instanceof Error)
      process.stderr.write(`${error.stack}\n`);
  };
  process.on("uncaughtException", (error) => {
    refuse(error);
    process.exit(1);
  });
  return {
    env: process.env,
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    refuse,
    watched: process.stderr.isTTY === true,
    stopRequested: () =>
      new Promise<void>((resolve) => {
        for (const end of ["SIGTERM", "SIGINT", "disconnect"] as const) process.once(end, () => resolve());
      }),
  };
}
