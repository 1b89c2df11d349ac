/**
 * `hongbao up`: every program of a campaign on this machine, until it is told to stop.
 */
import { CampaignDir } from "../../../core/store/campaign-dir.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import type { Command } from "../command.ts";
import { logLevel, port, roots } from "../settings.ts";

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
    const epochDir = await new CampaignDir(at, flags.campaign).completeEpoch(flags.epoch);
    const { manifest } = await readManifest(epochDir);
    const { startFleet } = await import("../fleet.ts");
    const stopRequested = terminal.stopRequested();
    const fleet = await startFleet({
      roots: at,
      campaign: flags.campaign,
      epoch: manifest.epoch,
      shards: manifest.shards.length,
      basePort: port(flags.port, terminal.env, 8080),
      openNow: flags.openNow,
      rate: flags.rate,
      logLevel: logLevel(flags.logLevel, terminal.env),
      env: terminal.env,
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
