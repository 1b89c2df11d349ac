/**
 * `hongbao demo`, which is `npm start`: the whole show on this machine, ending with the books.
 */
import { join } from "node:path";
import { HongbaoError } from "../../../core/format/error.ts";
import type { Command } from "../command.ts";
import { roots } from "../settings.ts";

interface DemoFlags {
  readonly packets: number;
  readonly shakers: number;
  readonly stay: boolean;
}

const PACKETS_MAX = 1_000_000;

export const demoCommand: Command<DemoFlags> = {
  usage: "demo",
  describe: "A complete show on this machine, in under a minute",
  flags: (argv) =>
    argv
      .option("packets", { type: "number", default: 4000, describe: "Packets of the campaign" })
      .option("shakers", { type: "number", default: 2000, describe: "Simulated users" })
      .option("stay", {
        type: "boolean",
        default: false,
        describe: "Keep serving after the show, until Ctrl-C",
      }),
  async run(flags, terminal) {
    wholeNumber("--packets", flags.packets, 10, PACKETS_MAX);
    wholeNumber("--shakers", flags.shakers, 1, PACKETS_MAX);
    const { runDemo } = await import("../demo.ts");
    const { formatReport } = await import("../../../scripts/reconcile/text.ts");
    const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
    const dir = join(roots(flags, terminal.env).dataDir, `demo-${stamp}-${process.pid}`);
    const { packets, shakers, stay } = flags;
    const report = await runDemo({ dir, packets, shakers, stay }, terminal);
    terminal.out(
      flags.json
        ? `${JSON.stringify({ dir, ...report })}\n`
        : `\n${formatReport(report)}\nEverything this show left is in ${dir}\n`,
    );
    return report.balanced ? 0 : 3;
  },
};

function wholeNumber(flag: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new HongbaoError("usage", `${flag} must be a whole number from ${min} to ${max}`);
}
