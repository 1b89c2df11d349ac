/**
 * `hongbao up`: every program of a campaign on this machine, until it is told to stop.
 */
import { HongbaoError } from "../../../core/format/error.ts";
import type { Command } from "../command.ts";
import { creditsPerSecond, logLevel, port, roots } from "../settings.ts";

interface UpFlags {
  readonly campaign: string;
  readonly epoch?: number | undefined;
  readonly port?: number | undefined;
  readonly rate?: number | undefined;
  readonly openNow: boolean;
}

export const upCommand: Command<UpFlags> = {
  usage: "up <campaign>",
  describe: "Run every program of a campaign on this machine",
  flags: (argv) =>
    argv
      .positional("campaign", { type: "string", demandOption: true })
      .option("epoch", { type: "number", describe: "The mint to serve [the highest complete one]" })
      .option("port", {
        type: "number",
        describe: "Port of shard 0; the others follow; 0 for any [PORT, 8080]",
      })
      .option("rate", { type: "number", describe: "Credit at most this many claims a second" })
      .option("open-now", { type: "boolean", default: false, describe: "Test campaigns: on air at once" }),
  async run(flags, terminal) {
    const at = roots(flags, terminal.env);
    const rate = creditsPerSecond(flags.rate);
    const level = logLevel(flags.logLevel, terminal.env);
    const { CampaignDir } = await import("../../../core/store/campaign-dir.ts");
    const { readManifest } = await import("../../../core/store/manifest-file.ts");
    const epochDir = await new CampaignDir(at, flags.campaign).completeEpoch(flags.epoch);
    const { manifest } = await readManifest(epochDir);
    const basePort = portRange(port(flags.port, terminal.env, 8080), manifest.shards.length);
    const { startFleet } = await import("../fleet.ts");
    const stopRequested = terminal.stopRequested();
    const fleet = await startFleet({
      roots: at,
      campaign: flags.campaign,
      epoch: manifest.epoch,
      shards: manifest.shards.length,
      basePort,
      openNow: flags.openNow,
      rate,
      logLevel: level,
      env: terminal.env,
      warn: (text) => terminal.err(`hongbao: ${text}\n`),
    });
    const { campaign, mode, epoch } = manifest;
    if (flags.json) terminal.out(`${JSON.stringify({ campaign, mode, epoch, nodes: fleet.nodes })}\n`);
    else {
      terminal.out(
        `${campaign}${mode === "test" ? " (TEST)" : ""}, epoch ${epoch}, is up. Ctrl-C stops it.\n`,
      );
      for (const { shard, url } of fleet.nodes) terminal.out(`  shard ${shard}  ${url}\n`);
      if (!flags.openNow)
        terminal.out(
          `Nothing is on air yet: \`hongbao show set FILE --campaign ${campaign}${fleet.nodes.map(({ url }) => ` --node ${url}`).join("")}\`\n`,
        );
    }
    const refusal = await Promise.race([stopRequested, fleet.failed]);
    await fleet.stop();
    if (refusal) throw refusal;
    return 0;
  },
};

/** @returns the port of shard 0, if the ports of all shards behind it exist */
function portRange(first: number, shards: number): number {
  if (first + shards - 1 <= 65535) return first;
  throw new HongbaoError(
    "usage",
    `${shards} nodes from port ${first} on need ports above 65535: choose a lower --port`,
  );
}
