/**
 * `hongbao keys new`: a signing key for the operator or the approver, each made on its owner's own machine.
 */
import type { Command } from "../command.ts";

interface KeysFlags {
  readonly action: string;
  readonly role: "operator" | "approver";
  readonly out: string;
}

export const keysCommand: Command<KeysFlags> = {
  usage: "keys <action> <role>",
  describe: "Make a signing key: keys new operator|approver --out FILE",
  flags: (argv) =>
    argv
      .positional("action", { type: "string", demandOption: true, choices: ["new"] })
      .positional("role", { demandOption: true, choices: ["operator", "approver"] as const })
      .option("out", {
        type: "string",
        demandOption: true,
        describe: "File of the private key (created, mode 0400)",
      }),
  async run(flags, terminal) {
    const { newKey } = await import("../../../generator/keys.ts");
    const made = await newKey({ role: flags.role, out: flags.out });
    terminal.out(flags.json ? `${JSON.stringify(made)}\n` : `${made.publicKey}\n`);
    terminal.err(
      `The private key is in ${flags.out}. Name the public key in the campaign file under keys.${flags.role}.\n`,
    );
    return 0;
  },
};
