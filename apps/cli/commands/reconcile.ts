/**
 * `hongbao reconcile`: finance's verdict. Exit 0 if every cent is accounted for, 3 if not.
 */
import { writeFile } from "node:fs/promises";
import { HongbaoError } from "../../../core/format/error.ts";
import type { Command } from "../command.ts";
import { ledgerUrl, roots } from "../settings.ts";

interface ReconcileFlags {
  readonly campaign: string;
  readonly epoch?: number | undefined;
  readonly journals?: string[] | undefined;
  readonly csv?: string | undefined;
  readonly html?: string | undefined;
  readonly audit: boolean;
}

export const reconcileCommand: Command<ReconcileFlags> = {
  usage: "reconcile <campaign>",
  describe: "Account for every packet: manifest, seeds, journals and ledger against each other",
  flags: (argv) =>
    argv
      .positional("campaign", { type: "string", demandOption: true })
      .option("epoch", { type: "number", describe: "The mint to account for [the highest complete one]" })
      .option("journals", { type: "string", array: true, describe: "Where the journals are [DATA_DIR]" })
      .option("csv", { type: "string", describe: "Also write tables into this directory" })
      .option("html", { type: "string", describe: "Also write a page into this file" })
      .option("audit", {
        type: "boolean",
        default: false,
        describe: "Also derive the keys again from the master key",
      }),
  async run(flags, terminal) {
    if (flags.journals?.length === 0) throw new HongbaoError("usage", "name the journals: `--journals DIR…`");
    const { reconcile } = await import("../../../scripts/reconcile/reconcile.ts");
    const { formatReport } = await import("../../../scripts/reconcile/text.ts");
    const report = await reconcile({
      roots: roots(flags, terminal.env),
      campaign: flags.campaign,
      audit: flags.audit,
      epoch: flags.epoch,
      journalDirs: flags.journals,
      ledgerUrl: ledgerUrl(terminal.env),
    });
    // The files first: whoever asked for one and cannot have it gets a refusal, not half an answer.
    if (flags.csv !== undefined) {
      const { writeCsv } = await import("../../../scripts/reconcile/csv.ts");
      await writeCsv(report, flags.csv);
    }
    if (flags.html !== undefined) {
      const { formatHtml } = await import("../../../scripts/reconcile/html.ts");
      await writeFile(flags.html, formatHtml(report));
    }
    terminal.out(flags.json ? `${JSON.stringify(report)}\n` : formatReport(report));
    return report.balanced ? 0 : 3;
  },
};
