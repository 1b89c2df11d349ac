/**
 * `hongbao node`: one access node, serving one shard.
 */
import type { Command } from "../command.ts";
import { port, queueAddress, roots } from "../settings.ts";

interface NodeFlags {
  readonly campaign: string;
  readonly shard: number;
  readonly epoch?: number | undefined;
  readonly port?: number | undefined;
  readonly host: string;
  readonly openNow: boolean;
}

export const nodeCommand: Command<NodeFlags> = {
  usage: "node",
  describe: "Serve a shard: hand out packets, open them, journal and forward the claims",
  flags: (argv) =>
    argv
      .option("campaign", { type: "string", demandOption: true, describe: "The campaign" })
      .option("shard", { type: "number", demandOption: true, describe: "The shard this node serves" })
      .option("epoch", { type: "number", describe: "The mint to serve [the highest complete one]" })
      .option("port", { type: "number", describe: "Port, 0 for any [PORT, 8080]" })
      .option("host", { type: "string", default: "127.0.0.1", describe: "Address to listen on" })
      .option("open-now", {
        type: "boolean",
        default: false,
        describe: "Test campaigns: one unpaced round until a signed show config comes",
      }),
  async run(flags, terminal) {
    const options = {
      roots: roots(flags, terminal.env),
      campaign: flags.campaign,
      shard: flags.shard,
      epoch: flags.epoch,
      port: port(flags.port, terminal.env, 8080),
      host: flags.host,
      openNow: flags.openNow,
      queue: queueAddress(terminal.env),
    };
    const { openLog } = await import("../log.ts");
    const log = openLog("node", flags, terminal);
    // From the first moment on: a node that is told to stop while it starts stops cleanly once it has.
    const stopRequested = terminal.stopRequested();
    const { runNode } = await import("../../access-node/node.ts");
    const node = await runNode(options, {
      log,
      onFailure: (error) => {
        log.fatal({ err: error }, "the node stops at once");
        terminal.refuse(error);
        process.exit(1);
      },
    });
    terminal.out(
      flags.json
        ? `${JSON.stringify({ url: node.url, shard: flags.shard })}\n`
        : `shard ${flags.shard} of ${flags.campaign} is served at ${node.url}\n`,
    );
    process.send?.({ hongbaoReady: { url: node.url } });
    await stopRequested;
    await node.stop();
    return 0;
  },
};
