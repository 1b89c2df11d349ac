/**
 * Somebody else's token, somebody else's pass: every combination of what winners of two shards, two epochs and two
 * campaigns hold is sent to a node over its HTTP surface, and every bit of passes is flipped. Only what belongs together
 * opens.
 */
import { openReceipt, sealPass } from "../../../core/format/pass.ts";
import { type Experiment, type Outcome, Violations } from "../experiment.ts";
import { lootNode } from "../forgery/loot.ts";
import { MintsDir } from "../forgery/mints.ts";
import { flipBit } from "../forgery/mutations.ts";
import { type HttpAnswer, type QuietNode, serveQuietly } from "../forgery/quiet-node.ts";
import { type SeededRandom, seededRandom } from "../random.ts";
import type { Minted } from "../stage/minted.ts";

const FLIPPED_PASSES_MAX = 50;
const PER_USER = 3;

export const experiment: Experiment = {
  claim:
    "nothing but a winner's own token, pass, user and device together opens a packet at the node of its shard",
  trials: { unit: "winners", short: 3, full: 50 },
  run: async ({ trials, seed, note }) => {
    const dir = new MintsDir();
    const nodes: QuietNode[] = [];
    const serve = async (minted: Minted, shard: number) => {
      const node = await serveQuietly(minted, shard);
      nodes.push(node);
      return node;
    };
    try {
      const earlier = await dir.mint();
      const minted = await dir.mint();
      const other = await dir.mint({ campaign: "other" });
      const mixer = new Mixer(await serve(minted, 0), seededRandom(seed));
      const elsewhere = [await serve(minted, 1), await serve(earlier, 0), await serve(other, 0)];
      await mixer.winHere(trials);
      for (const node of elsewhere) await mixer.winElsewhere(node, Math.max(2, Math.floor(trials / 10)));
      await mixer.forgePasses(minted);
      await mixer.mix(note);
      await mixer.flipPasses(Math.min(trials, FLIPPED_PASSES_MAX));
      await mixer.quotas(minted, other);
      return mixer.outcome();
    } finally {
      for (const node of nodes) await node.stop();
      dir.remove();
    }
  },
};

interface Holder {
  readonly user: string;
  readonly device: string;
}

interface Win {
  readonly token: string;
  readonly pass: string;
  readonly holder: Holder;
  /** Won at the node that is asked. */
  readonly isHere: boolean;
}

class Mixer {
  private readonly violations = new Violations();
  private readonly node: QuietNode;
  private readonly random: SeededRandom;
  private readonly wins: Win[] = [];
  /** Passes that no node made. */
  private readonly forged: string[] = ["", "AA", "AQ", "x".repeat(200)];
  private readonly figures = { combinations: 0, opened: 0, bitFlips: 0, quotaPasses: 0 };
  private users = 0;

  constructor(node: QuietNode, random: SeededRandom) {
    this.node = node;
    this.random = random;
  }

  async winHere(winners: number): Promise<void> {
    for (let i = 0; i < winners; i++) await this.win(this.node);
  }

  async winElsewhere(node: QuietNode, winners: number): Promise<void> {
    for (let i = 0; i < winners; i++) await this.win(node);
  }

  /** For the first winner's packet and name, under every key but the right one. */
  async forgePasses(minted: Minted): Promise<void> {
    const { keys, quotaKey } = await lootNode(minted.epochDir, 0);
    const other = await lootNode(minted.epochDir, 1);
    const [first] = this.wins;
    const pass = first && openReceipt(keys.receipt, first.holder, first.pass);
    if (first === undefined || pass === undefined) throw new Error("a winner's own pass does not open");
    const wrong = [other.keys.receipt, keys.token, keys.wire, quotaKey, this.random.bytes(32)];
    for (const receipt of wrong) this.forged.push(sealPass({ receipt, quota: quotaKey }, first.holder, pass));
    // The receipt key is right and the packet another one.
    const packets = [
      { ...pass.packet, serial: pass.packet.serial + 1 },
      { ...pass.packet, shard: 1 },
      { ...pass.packet, epoch: 1 },
    ];
    const own = { receipt: keys.receipt, quota: quotaKey };
    for (const packet of packets) this.forged.push(sealPass(own, first.holder, { ...pass, packet }));
  }

  /** Every token with every pass, as each of the two who could say that it is theirs. */
  async mix(note: (text: string) => void): Promise<void> {
    for (const of of this.wins) {
      for (const by of this.wins) await this.mixTwo(of, by);
      for (const pass of this.forged) await this.expectRefused(of, of.holder, pass);
      await this.expectRefused(of, of.holder, undefined);
    }
    note(`${this.figures.combinations} combinations tried`);
    for (const win of this.wins.filter(({ isHere }) => isHere)) await this.expectOpened(win);
  }

  /** All bits of a pass: payload, quota MAC and receipt MAC. */
  async flipPasses(passes: number): Promise<void> {
    for (const win of this.wins.slice(0, passes)) {
      const bytes = Buffer.from(win.pass, "base64url");
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = Buffer.from(bytes);
        flipBit(flipped, bit);
        this.figures.bitFlips++;
        await this.expectRefused(win, win.holder, flipped.toString("base64url"));
      }
      for (let length = 0; length < win.pass.length; length++)
        await this.expectRefused(win, win.holder, win.pass.slice(0, length));
      await this.expectOpened(win);
    }
  }

  /** A pass that says "has won enough" counts if this campaign made it for this user, and is as none otherwise. */
  async quotas(minted: Minted, other: Minted): Promise<void> {
    const own = (await lootNode(minted.epochDir, 1)).quotaKey;
    const foreign = (await lootNode(other.epochDir, 0)).quotaKey;
    await this.expectShake("limit", "its own", (holder) => this.spentPass(own, holder));
    await this.expectShake("packet", "another campaign's", (holder) => this.spentPass(foreign, holder));
    await this.expectShake("packet", "somebody else's", () => this.spentPass(own, this.newHolder()));
    // Payload and quota MAC: shake does not look at the receipt.
    for (let bit = 0; bit < (11 + 8 + 16) * 8; bit++)
      await this.expectShake("packet", `a pass with bit ${bit} flipped as its own`, (holder) => {
        const bytes = Buffer.from(this.spentPass(own, holder), "base64url");
        flipBit(bytes, bit);
        return bytes.toString("base64url");
      });
  }

  outcome(): Outcome {
    const { violations, figures } = this;
    return { trials: this.wins.filter(({ isHere }) => isHere).length, violations, figures };
  }

  private async mixTwo(token: Win, pass: Win): Promise<void> {
    const isOne = token === pass;
    const devices = [token.holder.device, pass.holder.device];
    for (const user of [token.holder.user, pass.holder.user])
      for (const device of [...devices, "another device"]) {
        const holder = { user, device };
        const isHolder = user === token.holder.user && device === token.holder.device;
        if (isOne && isHolder && token.isHere) continue;
        await this.expectRefused(token, holder, pass.pass);
      }
  }

  private async expectRefused(win: Win, holder: Holder, pass: string | undefined): Promise<void> {
    this.figures.combinations++;
    const { status, body } = await this.open(win.token, holder, pass);
    const expected = win.isHere ? [403, "not_yours"] : [400, "invalid_token"];
    this.violations.expect(
      status === expected[0] && body["code"] === expected[1],
      `token ${win.token} with pass ${pass} as ${JSON.stringify(holder)}: ${status} ${JSON.stringify(body)}`,
    );
  }

  private async expectOpened(win: Win): Promise<void> {
    const { status, body } = await this.open(win.token, win.holder, win.pass);
    this.figures.opened++;
    this.violations.expect(status === 200, `a winner's own packet: ${status} ${JSON.stringify(body)}`);
  }

  private async win(node: QuietNode): Promise<void> {
    const holder = this.newHolder();
    const { body } = await node.post("/v1/shake", holder);
    const [token, pass] = [String(body["token"]), String(body["pass"])];
    this.wins.push({ token, pass, holder, isHere: node === this.node });
  }

  private async expectShake(
    outcome: string,
    whose: string,
    passOf: (holder: Holder) => string,
  ): Promise<void> {
    const holder = this.newHolder();
    const { body } = await this.node.post("/v1/shake", { ...holder, pass: passOf(holder) });
    this.figures.quotaPasses++;
    this.violations.expect(
      body["outcome"] === outcome,
      `a user with ${whose} pass for ${PER_USER} packets: ${JSON.stringify(body)}`,
    );
  }

  /** Of a node of another shard, for a user who may win no more. */
  private spentPass(quota: Uint8Array, holder: Holder): string {
    const won = [{ epoch: 2, shard: 1, ad: 1, packets: PER_USER }];
    const keys = { receipt: this.random.bytes(32), quota };
    return sealPass(keys, holder, { packet: { epoch: 2, shard: 1, serial: 0 }, won });
  }

  private open(token: string, holder: Holder, pass: string | undefined): Promise<HttpAnswer> {
    return this.node.post("/v1/open", { token, ...holder, ...(pass !== undefined && { pass }) });
  }

  /** Some share a device's name: only user and device together are somebody. */
  private newHolder(): Holder {
    return { user: `user-${this.users++}`, device: `phone-${this.random.below(4)}` };
  }
}
