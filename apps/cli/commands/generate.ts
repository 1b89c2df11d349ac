/**
 * `hongbao generate`: from a campaign file to sealed tokens, manifest and keys.
 */
import { availableParallelism } from "node:os";
import { HongbaoError } from "../../../core/format/error.ts";
import { readSmallFile } from "../../../core/store/durable.ts";
import type { Command, Terminal } from "../command.ts";
import { roots } from "../settings.ts";

const WORKERS_MAX = 64;
const CAMPAIGN_BYTES_MAX = 16 * 1024 * 1024;

interface GenerateFlags {
  readonly file: string;
  readonly key?: string | undefined;
  readonly workers?: number | undefined;
  readonly dryRun: boolean;
  readonly resume: boolean;
}

export const generateCommand: Command<GenerateFlags> = {
  usage: "generate <file>",
  describe: "Split a campaign's budget and seal every packet",
  flags: (argv) =>
    argv
      .positional("file", { type: "string", demandOption: true, describe: "The campaign file" })
      .option("key", {
        type: "string",
        describe: "The operator's signing key (test campaigns make their own)",
      })
      .option("workers", { type: "number", describe: "Worker threads [one a core, at most 8]" })
      .option("dry-run", {
        type: "boolean",
        default: false,
        describe: "Show counts, sums, histogram and sizes; write nothing",
      })
      .option("resume", { type: "boolean", default: false, describe: "Finish a mint that was interrupted" }),
  async run(flags, terminal) {
    const { generate } = await import("../../../generator/generate.ts");
    const { formatReport } = await import("../../../generator/summary.ts");
    const progress = await progressBar(terminal, flags.json);
    try {
      const report = await generate(
        {
          roots: roots(flags, terminal.env),
          campaignText: await campaignText(flags.file),
          workers: workers(flags.workers),
          dryRun: flags.dryRun,
          resume: flags.resume,
          ...(flags.key !== undefined && { operatorKeyFile: flags.key }),
        },
        { nowMs: Date.now(), progress },
      );
      progress.stop();
      terminal.out(flags.json ? `${JSON.stringify(report)}\n` : formatReport(report));
      return report.checks.every(({ ok }) => ok) ? 0 : 1;
    } finally {
      progress.stop();
    }
  },
};

async function campaignText(path: string): Promise<string> {
  const bytes = await readSmallFile(path, "the campaign file", CAMPAIGN_BYTES_MAX);
  try {
    // Drops the byte order mark with which some editors begin a file.
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new HongbaoError(
      "invalid_campaign",
      `${path} is not a campaign file: it is not text in UTF-8, save it as JSON`,
      { cause },
    );
  }
}

function workers(flag: number | undefined): number {
  const value = flag ?? Math.min(availableParallelism(), 8);
  if (!Number.isInteger(value) || value < 1 || value > WORKERS_MAX)
    throw new HongbaoError("usage", `--workers must be a whole number from 1 to ${WORKERS_MAX}`);
  return value;
}

/** Quiet unless a person watches. */
async function progressBar(terminal: Terminal, json: boolean) {
  if (!terminal.watched || json) return { update() {}, stop() {} };
  const { default: cliProgress } = await import("cli-progress");
  const bar = new cliProgress.SingleBar({
    format: "sealing {bar} {percentage}%  {value}/{total} packets  {rate}/s  ETA {eta_formatted}",
    stream: process.stderr,
    clearOnComplete: false,
    hideCursor: true,
  });
  const startedMs = performance.now();
  let started = false;
  return {
    update(sealed: number, total: number) {
      if (!started) bar.start(total, 0, { rate: 0 });
      started = true;
      const seconds = Math.max(0.001, (performance.now() - startedMs) / 1000);
      bar.update(sealed, { rate: Math.round(sealed / seconds).toLocaleString("en-US") });
    },
    stop() {
      if (started) bar.stop();
      started = false;
    },
  };
}
