/**
 * `hongbao show`: the live-show operator's countdown.
 */
import { readFile } from "node:fs/promises";
import { HongbaoError } from "../../../core/format/error.ts";
import type { Pushed } from "../../show-control/show-control.ts";
import type { Command, ExitCode, Terminal } from "../command.ts";
import { roots } from "../settings.ts";

interface ShowFlags {
  readonly action: string;
  readonly value?: string | number | undefined;
  readonly campaign?: string | undefined;
  readonly node?: string[] | undefined;
  readonly key?: string | undefined;
}

export const showCommand: Command<ShowFlags> = {
  usage: "show <action> [value]",
  describe: "Push the show config: set FILE, shift SECONDS, stop, status",
  flags: (argv) =>
    argv
      .positional("action", {
        type: "string",
        demandOption: true,
        choices: ["set", "shift", "stop", "status"],
      })
      .positional("value", { type: "string", describe: "FILE of set, SECONDS of shift (may be negative)" })
      .option("campaign", { type: "string", describe: "The campaign" })
      .option("node", { type: "string", array: true, describe: "URL of a node; repeat for each" })
      .option("key", {
        type: "string",
        describe: "The operator's signing key [KEYS_DIR/CAMPAIGN/operator.key]",
      }),
  async run(flags, terminal) {
    const nodes = urls(flags.node);
    const { setShow, shiftShow, showStatus, stopShow } = await import("../../show-control/show-control.ts");
    if (flags.action === "status") {
      const statuses = await showStatus(nodes);
      if (flags.json) terminal.out(`${JSON.stringify(statuses)}\n`);
      else for (const { node, status } of statuses) terminal.out(`${node}  ${JSON.stringify(status)}\n`);
      return statuses.every(({ reachable }) => reachable) ? 0 : 1;
    }
    if (flags.campaign === undefined) throw new HongbaoError("usage", "name the campaign with --campaign");
    const target = { roots: roots(flags, terminal.env), campaign: flags.campaign, nodes, keyFile: flags.key };
    if (flags.action === "stop") return answer(await stopShow(target), flags.json, terminal);
    if (flags.action === "shift")
      return answer(await shiftShow(target, seconds(flags.value), Date.now()), flags.json, terminal);
    return answer(await setShow(target, await text(flags.value)), flags.json, terminal);
  },
};

function answer(pushed: Pushed, json: boolean, terminal: Terminal): ExitCode {
  if (json) terminal.out(`${JSON.stringify(pushed)}\n`);
  else
    for (const { node, outcome, detail } of pushed.deliveries)
      terminal.out(`version ${pushed.version}  ${node}  ${outcome}${detail ? `: ${detail}` : ""}\n`);
  return pushed.deliveries.every(({ outcome }) => outcome === "taken") ? 0 : 1;
}

function urls(nodes: string[] | undefined): string[] {
  if (nodes === undefined || nodes.length === 0)
    throw new HongbaoError("usage", "name the nodes with --node URL");
  const bad = nodes.find((node) => !/^https?:\/\/./.test(node) || !URL.canParse(node));
  if (bad !== undefined)
    throw new HongbaoError("usage", `--node ${bad} is not a URL such as http://127.0.0.1:8080`);
  return nodes;
}

function seconds(value: string | number | undefined): number {
  const number = Number(value);
  if (value === undefined || value === "" || !Number.isFinite(number))
    throw new HongbaoError("usage", "say by how many seconds: `hongbao show shift 30`");
  return number;
}

async function text(path: string | number | undefined): Promise<string> {
  if (path === undefined) throw new HongbaoError("usage", "name the show config: `hongbao show set FILE`");
  try {
    return await readFile(String(path), "utf8");
  } catch (cause) {
    throw new HongbaoError("missing_file", `the show config ${path} cannot be read`, { cause });
  }
}
