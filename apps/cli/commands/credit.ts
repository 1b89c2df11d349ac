/**
 * `hongbao credit`: the worker that pays claims into the ledger, or a ledger rebuilt from journals.
 */
import { HongbaoError } from "../../../core/format/error.ts";
import type { Command, ExitCode, GlobalFlags, Terminal } from "../command.ts";
import { creditsPerSecond, ledgerUrl, queueAddress, roots } from "../settings.ts";

interface CreditFlags {
  readonly campaign: string;
  readonly epoch?: number | undefined;
  readonly rate?: number | undefined;
  readonly replay?: string[] | undefined;
}

export const creditCommand: Command<CreditFlags> = {
  usage: "credit",
  describe: "Pay claims from the queue into the ledger",
  flags: (argv) =>
    argv
      .option("campaign", { type: "string", demandOption: true, describe: "The campaign" })
      .option("epoch", { type: "number", describe: "The mint to credit [the highest complete one]" })
      .option("rate", { type: "number", describe: "At most this many claims a second [as fast as it goes]" })
      .option("replay", {
        type: "string",
        array: true,
        describe: "Rebuild the ledger from these journals instead",
      }),
  async run(flags, terminal) {
    if (flags.replay !== undefined) return await replay(flags, flags.replay, terminal);
    const rate = creditsPerSecond(flags.rate);
    const queue = queueAddress(terminal.env);
    if (queue.kind === "none")
      throw new HongbaoError(
        "invalid_queue_url",
        "QUEUE_URL is not set, so there is no queue to credit from: set it as for the nodes (redis://host:6379), run `hongbao up`, which hosts one, or give journals with --replay",
      );
    const { openLog } = await import("../log.ts");
    const log = openLog("credit", flags, terminal);
    const stopRequested = terminal.stopRequested();
    const { runCreditWorker } = await import("../../credit-worker/worker.ts");
    const worker = await runCreditWorker({ ...books(flags, terminal), queue, rate }, { log });
    process.send?.({ hongbaoReady: {} });
    const ended = worker.done.catch((error: unknown) => ({ error }));
    await Promise.race([stopRequested, ended]);
    await worker.stop();
    const failure = await ended;
    if (failure) throw failure.error;
    const stats = worker.stats();
    if (flags.json) terminal.out(`${JSON.stringify(stats)}\n`);
    else log.info({ stats }, "worker stopped");
    return 0;
  },
};

async function replay(
  flags: CreditFlags & GlobalFlags,
  dirs: string[],
  terminal: Terminal,
): Promise<ExitCode> {
  if (dirs.length === 0) throw new HongbaoError("usage", "name the journals: `--replay DIR…`");
  const { openLog } = await import("../log.ts");
  const log = openLog("credit", flags, terminal);
  const { replayJournals } = await import("../../credit-worker/replay.ts");
  const tally = await replayJournals({ ...books(flags, terminal), dirs }, { log });
  terminal.out(
    flags.json
      ? `${JSON.stringify(tally)}\n`
      : `${Object.entries(tally)
          .map(([outcome, claims]) => `${claims} ${outcome}`)
          .join(", ")}\n`,
  );
  return 0;
}

function books(flags: CreditFlags & GlobalFlags, terminal: Terminal) {
  return {
    roots: roots(flags, terminal.env),
    campaign: flags.campaign,
    epoch: flags.epoch,
    ledgerUrl: ledgerUrl(terminal.env),
  };
}
