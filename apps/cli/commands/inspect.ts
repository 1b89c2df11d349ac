/**
 * `hongbao inspect`: what a token says of itself, and, with the settlement key at hand, what it seals.
 */
import { HongbaoError } from "../../../core/format/error.ts";
import type { Command } from "../command.ts";
import { roots } from "../settings.ts";

export const inspectCommand: Command<{ token: string }> = {
  usage: "inspect <token>",
  describe: "Say what a token is, and open it if the settlement key is here",
  flags: (argv) => argv.positional("token", { type: "string", demandOption: true }),
  async run(flags, terminal) {
    const { decodeToken, TOKEN_HEADER } = await import("../../../core/format/token.ts");
    const token = decodeToken(String(flags.token));
    if (token === undefined || token[0] !== TOKEN_HEADER)
      throw new HongbaoError(
        "invalid_token",
        "this is not a token: a token is 60 characters A-Z a-z 0-9 - _ of version 1",
      );
    const { describe, inspect } = await import("../inspection.ts");
    const inspection = await inspect(token, roots(flags, terminal.env));
    terminal.out(flags.json ? `${JSON.stringify(inspection)}\n` : describe(inspection));
    return inspection.verdict === "invalid" || inspection.verdict === "checksum-mismatch" ? 1 : 0;
  },
};
