/**
 * A site of a show: one node after another, each serving a shard of its own to its own audience, until the show has
 * had enough. (A shard's journal is read at every start of its node: with shards that change, a start after a million
 * claims costs what it costs after some thousands.) A node whose audience has left stays up until all that it owes
 * the ledger is acknowledged, and is stopped cleanly, while the next one serves already.
 */

import type { Round } from "../../../core/format/show.ts";
import { crowd } from "../audience/crowd.ts";
import { Pace } from "../audience/pace.ts";
import type { Observation } from "../checker/observation.ts";
import type { SeededRandom } from "../random.ts";
import { freePort } from "../stage/free-port.ts";
import { Program } from "../stage/program.ts";
import { until } from "../stage/until.ts";
import { Kept } from "./kept.ts";
import { pushShow } from "./push-show.ts";
import type { Show } from "./show.ts";

const DRAIN_MS_MAX = 120_000;
const LISTEN_MS = 1_000;
/** What a node tells anybody who asks. */
const PUBLIC_PATHS = ["/metrics", "/healthz", "/v1/show"];

export interface SiteOptions {
  readonly show: Show;
  readonly shards: readonly number[];
  /** Claims that are acknowledged at one shard before the next one is served. */
  readonly claimsPerShard: number;
  readonly guestsAtOnce: number;
  readonly random: SeededRandom;
  /** Rounds that are signed and pushed to each node; without them it is open at once. */
  readonly rounds?: readonly Round[] | undefined;
  /** Done at the moment when a node has heard that everything is paid in. */
  readonly onPaidIn?: (() => Promise<void>) | undefined;
  /** True once the show has had enough claims. */
  readonly isOver: () => boolean;
}

export class Site {
  /** The node that serves now: the one to be killed. */
  serving: Kept | undefined;
  /** Where it serves. */
  port: number | undefined;
  readonly pace = new Pace();
  private readonly options: SiteOptions;
  private readonly nodes = new Map<number, Kept>();

  constructor(options: SiteOptions) {
    this.options = options;
  }

  /** Returns when the show is over and every node is stopped. */
  async run(): Promise<void> {
    const drains: Promise<void>[] = [];
    for (const shard of this.options.shards) {
      if (this.options.isOver() || this.options.show.isAbandoned) break;
      const { node, url, listening } = await this.serve(shard);
      drains.push(this.drain(node, url).finally(() => clearInterval(listening)));
    }
    await Promise.all(drains);
  }

  /** How often the node of a shard was killed. */
  killsOf(shard: number): number {
    return this.nodes.get(shard)?.kills ?? 0;
  }

  /** SIGKILL for all that still runs. */
  async abandon(): Promise<void> {
    await Promise.all([...this.nodes.values()].map(({ program }) => program.kill()));
  }

  /** Serves one shard until it has had its claims or is sold out. */
  private async serve(shard: number) {
    const { environment, minted, secrets, violations } = this.options.show;
    const [port, name] = [await freePort(), `node ${shard}`];
    const url = `http://127.0.0.1:${port}`;
    const args = [
      "node",
      "--campaign",
      minted.campaign,
      "--shard",
      `${shard}`,
      "--port",
      `${port}`,
      ...(this.options.rounds === undefined ? ["--open-now"] : []),
    ];
    const program = new Program(args, environment, (said) => secrets.hear(name, said));
    const node = new Kept(program, name, violations);
    node.start();
    this.nodes.set(shard, node);
    this.serving = node;
    this.port = port;
    const listening = setInterval(() => this.listen(url, name), LISTEN_MS);
    if (this.options.rounds) await pushShow(url, minted, this.options.rounds);
    await this.entertain(shard, url);
    this.serving = undefined;
    return { node, url, listening };
  }

  private async entertain(shard: number, url: string): Promise<void> {
    const { claimsPerShard, guestsAtOnce, isOver, random, show } = this.options;
    let acknowledged = 0;
    const note = (observation: Observation) => {
      if (observation.ask === "open" && observation.status === 200) acknowledged++;
      show.recorder.note(observation);
    };
    const noted = () => show.recorder.noted;
    const isAbandoned = () => show.isAbandoned;
    const isOpen = () => acknowledged < claimsPerShard && !isOver() && !isAbandoned();
    await crowd(
      { url, note, noted, random, pace: this.pace, isOpen, isAbandoned },
      `guest ${shard}`,
      guestsAtOnce,
    );
  }

  private async drain(node: Kept, url: string): Promise<void> {
    const { onPaidIn, show } = this.options;
    const isPaidIn = async () => (await lagBytes(url)) === 0;
    await node.stop(async () => {
      await until(() => show.isAbandoned || isPaidIn(), DRAIN_MS_MAX);
      await onPaidIn?.();
    });
  }

  private async listen(url: string, name: string): Promise<void> {
    for (const path of PUBLIC_PATHS) {
      // A node that is down says nothing.
      const said = await fetch(`${url}${path}`).then(
        (response) => response.text(),
        () => "",
      );
      this.options.show.secrets.hear(`${path} of ${name}`, said);
    }
  }
}

/** Journal bytes up to the last claim that no ledger has acknowledged. */
async function lagBytes(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^hongbao_forward_lag_bytes\{[^}]*\} (\d+)/m.exec(text)?.[1] ?? Number.NaN);
}
