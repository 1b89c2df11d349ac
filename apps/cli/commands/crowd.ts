/**
 * `hongbao crowd` (not listed): the simulated audience of `demo`, in a process of its own. It reports its counts
 * to its parent twice a second, or prints them at the end.
 */
import type { Command } from "../command.ts";
import { startCrowd } from "../crowd.ts";

interface CrowdFlags {
  readonly node: string[];
  readonly users: number;
  readonly concurrency: number;
  readonly seconds: number;
}

export const crowdCommand: Command<CrowdFlags> = {
  usage: "crowd",
  describe: false,
  flags: (argv) =>
    argv
      .option("node", { type: "string", array: true, demandOption: true })
      .option("users", { type: "number", demandOption: true })
      .option("concurrency", { type: "number", default: 48 })
      .option("seconds", { type: "number", default: 60 }),
  async run(flags, terminal) {
    const untilMs = Date.now() + flags.seconds * 1000;
    const crowd = startCrowd({
      nodes: flags.node,
      users: flags.users,
      concurrency: flags.concurrency,
      untilMs,
    });
    const report = () => process.send?.({ hongbaoCrowd: crowd.counts });
    const timer = setInterval(report, 500);
    await Promise.race([crowd.done, terminal.stopRequested()]);
    clearInterval(timer);
    report();
    terminal.out(`${JSON.stringify(crowd.counts)}\n`);
    return 0;
  },
};
