/**
 * A theft from its first token to the books: honest winners first, then the thief at the node and at the worker, and
 * in the end ledger, log and finance, which must each have seen every self-made token, and paid for none.
 */
import type { Claim } from "../../../core/format/claim.ts";
import { readTokenNonce } from "../../../core/format/token.ts";
import { readLedger } from "../../../core/store/ledger-reader.ts";
import { reconcile } from "../../reconcile/reconcile.ts";
import type { Violations } from "../experiment.ts";
import type { SeededRandom } from "../random.ts";
import type { Minted } from "../stage/minted.ts";
import { until } from "../stage/until.ts";
import { lootNode, lootSeeds } from "./loot.ts";
import { type QuietNode, serveQuietly } from "./quiet-node.ts";
import { Settlement } from "./settlement.ts";
import { Thief } from "./thief.ts";

const AT_ONCE = 500;
const BATCH = 1000;
const DELIVERY_MS_MAX = 600_000;

export class Theft {
  /** Self-made tokens that the worker was shown: each must be recorded and alarmed. */
  private selfMade = 0;
  /** Genuine plaintexts under other serials that the worker was shown: each must be recorded. */
  private resealed = 0;
  /** Honest winners' packets: serial -> cents. */
  private readonly honest = new Map<number, number>();
  private readonly minted: Minted;
  private readonly node: QuietNode;
  private readonly settlement: Settlement;
  private readonly thief: Thief;
  private readonly seeds: readonly Buffer[];
  private readonly violations: Violations;

  private constructor(
    minted: Minted,
    parts: { node: QuietNode; settlement: Settlement; thief: Thief; seeds: readonly Buffer[] },
    violations: Violations,
  ) {
    this.minted = minted;
    this.node = parts.node;
    this.settlement = parts.settlement;
    this.thief = parts.thief;
    this.seeds = parts.seeds;
    this.violations = violations;
  }

  static async of(minted: Minted, random: SeededRandom, violations: Violations): Promise<Theft> {
    const thief = new Thief(await lootNode(minted.epochDir, 0), random);
    const seeds = await lootSeeds(minted.epochDir, 0);
    const [node, settlement] = [await serveQuietly(minted), await Settlement.of(minted)];
    return new Theft(minted, { node, settlement, thief, seeds }, violations);
  }

  /** The control: genuine tokens on the same way through node and worker. */
  async honestWinners(users: number): Promise<void> {
    for (let i = 0; i < users; i++) {
      const holder = { user: `honest-${i}`, device: "phone" };
      const { token, pass } = (await this.node.post("/v1/shake", holder)).body;
      const { body } = await this.node.post("/v1/open", { ...holder, token, pass });
      this.violations.expect(typeof body["cents"] === "number", `an honest open: ${JSON.stringify(body)}`);
      this.honest.set(readTokenNonce(Buffer.from(String(token), "base64url")).serial, Number(body["cents"]));
    }
  }

  /** Self-made tokens, each of another packet. The node opens them: its own keys made them. */
  async openAtNode(tokens: number): Promise<void> {
    const serials = this.seeds.map((_, serial) => serial).filter((serial) => !this.honest.has(serial));
    let opened = 0;
    for (let at = 0; at < tokens; at += AT_ONCE) {
      const made = this.thief.seal(serials.slice(at, Math.min(tokens, at + AT_ONCE)));
      const openings = made.map((token, i) => this.thief.opening(token, `thief-${at + i}`));
      const answers = await Promise.all(openings.map((opening) => this.node.opener.open(opening)));
      opened += answers.filter((answer) => typeof answer === "object").length;
    }
    this.selfMade += opened;
    this.same("self-made tokens opened at the node", opened, tokens);
  }

  /** The plaintext of a genuine token under another nonce: its tag is right, and the node refuses it all the same. */
  async resealAtNode(tokens: number): Promise<void> {
    for (let i = 0; i < tokens; i++) {
      const opening = this.thief.opening(this.reseal(i, "nonce"), `sealer-${i}`);
      const answer = await this.node.opener.open(opening);
      this.violations.expect(
        answer === "invalid-token",
        `the node took a resealed plaintext: ${JSON.stringify(answer)}`,
      );
    }
  }

  /** The node's forwarder delivers whatever the node has opened, as it always does. */
  async deliver(): Promise<void> {
    const { forwarder } = this.node;
    forwarder.start(this.settlement.transport((ack) => forwarder.acknowledge(ack)));
    const { settlement } = this;
    await until(() => forwarder.lagBytes === 0 || settlement.failure !== undefined, DELIVERY_MS_MAX);
    this.violations.expect(settlement.failure === undefined, `crediting failed: ${settlement.failure}`);
  }

  /** Self-made tokens in self-made batches, in the name of the node's own journal, for the right ledger. */
  async sendSelfMade(tokens: number, note: (text: string) => void): Promise<void> {
    const { packets } = this.thief.loot.scope;
    for (let at = 0; at < tokens; at += BATCH) {
      const serials = Array.from({ length: Math.min(BATCH, tokens - at) }, (_, i) => (at + i) % packets);
      await this.send(this.thief.seal(serials), `robber-${at}`);
      if (at % 100_000 === 0) note(`${at} self-made tokens sent in batches`);
    }
    this.selfMade += tokens;
  }

  async sendResealed(tokens: number): Promise<void> {
    await this.send(
      Array.from({ length: tokens }, (_, i) => this.reseal(i, "nonce")),
      "resealer",
    );
    this.resealed += tokens;
    // The serial inside is changed as well: a self-made token with the checksum of another packet.
    await this.send(
      Array.from({ length: tokens }, (_, i) => this.reseal(i, "nonce and text")),
      "relabeller",
    );
    this.selfMade += tokens;
  }

  /** Stops the node, and asks everybody. */
  async account(): Promise<Record<string, number>> {
    await this.node.stop();
    const { stats } = this.settlement.crediting;
    const rows = this.readRows();
    const honestCents = [...this.honest.values()].reduce((sum, cents) => sum + cents, 0);
    this.same("packets credited", rows.credited, this.honest.size);
    this.same("cents credited", stats.cents, honestCents);
    this.same("rejections for a checksum", rows.checksum, this.selfMade);
    this.same("rejections for a seal", rows.token, this.resealed);
    this.same("rejections for anything else", rows.other, 0);
    this.same("tokens alarmed in the log", this.settlement.alarmed, this.selfMade);
    const report = await reconcile({
      roots: this.minted.roots,
      campaign: this.minted.campaign,
      audit: false,
    });
    this.violations.expect(report.balanced, `the books do not balance: ${JSON.stringify(report.counts)}`);
    this.same("forged, says reconcile,", report.counts.forged ?? 0, this.selfMade + this.resealed);
    this.same("packets credited, says reconcile,", report.credited.packets, this.honest.size);
    this.same("cents credited, says reconcile,", report.credited.cents, honestCents);
    return {
      credited: rows.credited - this.honest.size,
      recorded: rows.checksum + rows.token,
      alarmed: this.settlement.alarmed,
      resealed: this.resealed,
      honestCredited: this.honest.size,
    };
  }

  close(): void {
    this.settlement.close();
  }

  private async send(tokens: readonly Buffer[], user: string): Promise<void> {
    const { journal } = this.node.shard;
    const claims = tokens.map(
      (token, i): Claim => ({ token, user: `${user}-${i}`, device: "phone", atMs: 0 }),
    );
    const range = { ...journal.identity, from: 0, to: 0 };
    const ledgerId = this.settlement.books.ledger.pin.ledgerId;
    for (let at = 0; at < claims.length; at += BATCH) {
      const batch = this.thief.batch(range, ledgerId, claims.slice(at, at + BATCH));
      const answer = await this.settlement.credit(batch);
      this.violations.expect(
        answer?.outcome === "acknowledged",
        `a well-formed batch was ${answer?.outcome ?? `not credited: ${this.settlement.failure}`}`,
      );
    }
  }

  /** @param i which packet; the token says that it is the next one of the file */
  private reseal(i: number, what: "nonce" | "nonce and text"): Buffer {
    const [from, to] = [this.seeds[i % this.seeds.length], this.seeds[(i + 1) % this.seeds.length]];
    if (from === undefined || to === undefined) throw new Error("the shard has no packets");
    return this.thief.reseal(from, readTokenNonce(to).serial, what === "nonce and text");
  }

  private readRows() {
    const ledger = readLedger(this.minted.epochDir.of.ledger);
    const rows = { credited: 0, checksum: 0, token: 0, other: 0 };
    try {
      for (const { reason, detail } of ledger.rejections())
        if (reason === "forged" && (detail === "checksum" || detail === "token")) rows[detail]++;
        else rows.other++;
      for (const { serial, cents } of ledger.credits()) {
        rows.credited++;
        this.violations.expect(
          this.honest.get(serial) === cents,
          `packet ${serial} was credited with ${cents} cents`,
        );
      }
      return rows;
    } finally {
      ledger.close();
    }
  }

  private same(what: string, is: number, should: number): void {
    this.violations.expect(is === should, `${what}: ${is} instead of ${should}`);
  }
}
