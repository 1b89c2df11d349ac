/**
 * `hongbao approve`: the second signature that a live campaign needs.
 */
import type { Command } from "../command.ts";
import { roots } from "../settings.ts";

interface ApproveFlags {
  readonly campaign: string;
  readonly key: string;
  readonly epoch?: number | undefined;
}

export const approveCommand: Command<ApproveFlags> = {
  usage: "approve <campaign>",
  describe: "Sign a campaign's manifest as the approver",
  flags: (argv) =>
    argv
      .positional("campaign", { type: "string", demandOption: true })
      .option("key", { type: "string", demandOption: true, describe: "The approver's signing key file" })
      .option("epoch", { type: "number", describe: "The mint to approve [the highest complete one]" }),
  async run(flags, terminal) {
    const { approve } = await import("../../../generator/approve.ts");
    const { campaign, key } = flags;
    const epoch = flags.epoch === undefined ? {} : { epoch: flags.epoch };
    const approved = await approve({ roots: roots(flags, terminal.env), campaign, keyFile: key, ...epoch });
    terminal.out(flags.json ? `${JSON.stringify(approved)}\n` : `The manifest of ${campaign} is approved.\n`);
    return 0;
  },
};
