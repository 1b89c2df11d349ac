/**
 * `hongbao doctor`: is this machine fit to run the programs?
 */
import type { Command } from "../command.ts";
import { ledgerUrl, logLevel, port, queueAddress, roots } from "../settings.ts";

export const doctorCommand: Command<object> = {
  usage: "doctor",
  describe: "Check runtime, native modules, settings, queue, ledger, keys, clock and disk",
  flags: (argv) => argv,
  async run(flags, terminal) {
    const { examine } = await import("../doctor.ts");
    const findings = await examine({
      roots: roots(flags, terminal.env),
      queue: () => queueAddress(terminal.env),
      ledgerUrl: () => ledgerUrl(terminal.env),
      settings: () => {
        port(undefined, terminal.env, 8080);
        logLevel(flags.logLevel, terminal.env);
      },
    });
    if (flags.json) terminal.out(`${JSON.stringify(findings)}\n`);
    else
      for (const { check, ok, detail } of findings)
        terminal.out(`${ok ? "ok  " : "FAIL"}  ${check.padEnd(16)}${detail}\n`);
    return findings.every(({ ok }) => ok) ? 0 : 1;
  },
};
