#!/usr/bin/env node
/**
 * `hongbao`: one command for every program of a campaign. Here and nowhere else live the process's environment,
 * console, signals and exit code. Errors become one clear sentence and a documented code; a stack trace is for
 * bugs and is shown only at LOG_LEVEL=debug.
 */
import yargs, { type Argv } from "yargs";
import { HongbaoError } from "../../core/format/error.ts";
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

process.exitCode = await main(process.argv.slice(2), processTerminal());
// Sockets of a dead queue or a client that never reads must not keep a finished program alive.
process.stdout.write("", () => process.exit());

async function main(args: string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = 0;
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
    .fail((message: string | null, error: Error | undefined) => {
      throw error ?? new HongbaoError("usage", `${message ?? "unknown usage"} Run \`hongbao --help\`.`);
    }) as Argv<GlobalFlags>;
  const add = <Flags>({ usage, describe, flags, run }: Command<Flags>) =>
    parser.command(usage, describe as string, flags, async (parsed) => {
      exitCode = await run(parsed as unknown as Flags & GlobalFlags, terminal);
    });
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
    return report(error, args.includes("--json"), terminal);
  }
}

function report(error: unknown, json: boolean, terminal: Terminal): ExitCode {
  const known = error instanceof HongbaoError;
  const message = error instanceof Error ? error.message : String(error);
  const code = known ? error.code : "internal_error";
  if (json) terminal.out(`${JSON.stringify({ error: { code, message } })}\n`);
  terminal.err(`hongbao: ${known ? message : `internal error: ${message}`}\n`);
  if (terminal.env["LOG_LEVEL"] === "debug" && error instanceof Error) terminal.err(`${error.stack}\n`);
  return known ? error.exitCode : 1;
}

function processTerminal(): Terminal {
  return {
    env: process.env,
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    watched: process.stderr.isTTY === true,
    stopRequested: () =>
      new Promise<void>((resolve) => {
        process.once("SIGTERM", resolve);
        process.once("SIGINT", resolve);
        process.once("disconnect", resolve);
      }),
  };
}
