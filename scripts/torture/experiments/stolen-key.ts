/**
 * A node's key file is stolen: tokens sealed with it, with genuine serials and invented amounts, are opened at the
 * node with passes that the thief made himself, and sent to the credit worker in batches that he signed himself.
 */
import { type Experiment, Violations } from "../experiment.ts";
import { MintsDir } from "../forgery/mints.ts";
import { Theft } from "../forgery/theft.ts";
import { seededRandom } from "../random.ts";

/** The node keeps one claim a packet: so many of the tokens go through it, each with a serial of its own. */
const SHARE_AT_NODE = 0.25;
const SHARE_RESEALED = 0.02;
const HONEST = 40;

export const experiment: Experiment = {
  claim:
    "with a stolen node key nothing is credited: every self-made token is recorded, alarmed and named by finance",
  trials: { unit: "self-made tokens", short: 8_000, full: 1_000_000 },
  run: async ({ trials, seed, note }) => {
    const dir = new MintsDir();
    const violations = new Violations();
    let theft: Theft | undefined;
    try {
      const atNode = Math.ceil(trials * SHARE_AT_NODE);
      const shardPackets = atNode + 2 * HONEST;
      const minted = await dir.mint({ packets: 2 * shardPackets, budgetCents: 1_000 * shardPackets });
      theft = await Theft.of(minted, seededRandom(seed), violations);
      await theft.honestWinners(HONEST);
      await theft.openAtNode(atNode);
      note(`${atNode} self-made tokens opened at the node`);
      await theft.resealAtNode(Math.ceil(trials * SHARE_RESEALED));
      await theft.deliver();
      note("delivered to the worker");
      await theft.sendSelfMade(trials - atNode, note);
      await theft.sendResealed(Math.ceil(trials * SHARE_RESEALED));
      const figures = await theft.account();
      return { trials, violations, figures: { openedAtNode: atNode, ...figures } };
    } finally {
      theft?.close();
      dir.remove();
    }
  },
};
