/**
 * `hongbao show`: the live-show operator's countdown.
 */
import { HongbaoError } from "../../../core/format/error.ts";
import { readSmallFile } from "../../../core/store/durable.ts";
import type { NodeStatus, Pushed } from "../../show-control/show-control.ts";
import type { Command, ExitCode, Terminal } from "../command.ts";
import { roots } from "../settings.ts";

const SHIFT_SECONDS_MAX = 366 * 24 * 3600;

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
      await warnOfClocks(statuses, terminal);
      if (flags.json) terminal.out(`${JSON.stringify(statuses)}\n`);
      else for (const { node, status } of statuses) terminal.out(`${node}  ${JSON.stringify(status)}\n`);
      const silent = statuses.filter(({ reachable }) => !reachable).length;
      if (silent === 0) return 0;
      terminal.err(
        `hongbao: ${silent} of ${statuses.length} nodes did not answer: check that they run, and their URLs\n`,
      );
      return 1;
    }
    if (flags.campaign === undefined) throw new HongbaoError("usage", "name the campaign with --campaign");
    const target = { roots: roots(flags, terminal.env), campaign: flags.campaign, nodes, keyFile: flags.key };
    const push = async () => {
      if (flags.action === "stop") return await stopShow(target);
      if (flags.action === "shift") return await shiftShow(target, seconds(flags.value), Date.now());
      return await setShow(target, await text(flags.value));
    };
    const code = answer(await push(), flags.json, terminal);
    await warnOfClocks(await showStatus(nodes), terminal);
    return code;
  },
};

async function warnOfClocks(statuses: readonly NodeStatus[], terminal: Terminal): Promise<void> {
  const { strayClocks } = await import("../../show-control/show-control.ts");
  for (const { node, aheadMs } of strayClocks(statuses, Date.now())) {
    const by = `${Math.abs(Math.round(aheadMs / 1000))} s ${aheadMs > 0 ? "ahead of" : "behind"}`;
    terminal.err(
      `hongbao: the clock of ${node} is ${by} this machine's, and rounds open by it: set both clocks, and run an NTP client\n`,
    );
  }
}

function answer(pushed: Pushed, json: boolean, terminal: Terminal): ExitCode {
  if (json) terminal.out(`${JSON.stringify(pushed)}\n`);
  else
    for (const { node, outcome, detail } of pushed.deliveries)
      terminal.out(`version ${pushed.version}  ${node}  ${outcome}${detail ? `: ${detail}` : ""}\n`);
  const missed = pushed.deliveries.filter(({ outcome }) => outcome !== "taken").length;
  if (missed === 0) return 0;
  const of = `${missed} of ${pushed.deliveries.length} nodes`;
  terminal.err(
    `hongbao: ${of} did not take version ${pushed.version}: remove the reason that stands with each, then push it again\n`,
  );
  return 1;
}

function urls(nodes: string[] | undefined): string[] {
  if (nodes === undefined || nodes.length === 0)
    throw new HongbaoError("usage", "name the nodes with --node URL");
  for (const node of nodes) {
    const url = /^https?:\/\/./.test(node) && URL.canParse(node) ? new URL(node) : undefined;
    // What holds an @ may hold a password, and is not repeated.
    if (url === undefined || url.username !== "" || url.password !== "")
      throw new HongbaoError(
        "usage",
        `--node ${node.includes("@") ? "with a user or password" : node} is not a URL such as http://127.0.0.1:8080`,
      );
  }
  return nodes;
}

function seconds(value: string | number | undefined): number {
  const number = Number(value);
  if (value === undefined || !(Math.abs(number) <= SHIFT_SECONDS_MAX))
    throw new HongbaoError(
      "usage",
      "say by how many seconds, at most a year of them: `hongbao show shift 30`",
    );
  return number;
}

async function text(path: string | number | undefined): Promise<string> {
  if (path === undefined) throw new HongbaoError("usage", "name the show config: `hongbao show set FILE`");
  const { SHOW_TEXT_MAX } = await import("../../../core/format/show.ts");
  const bytes = await readSmallFile(String(path), "the show config", SHOW_TEXT_MAX);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new HongbaoError("invalid_show", `${path} is not a show config: it is not text in UTF-8`, {
      cause,
    });
  }
}
