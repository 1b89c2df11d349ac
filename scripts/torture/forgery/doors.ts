/**
 * The two places where a token is opened for money: the node, one by one behind a pass, and the worker, in bulk with
 * the settlement checksum. A door says for each token whether anything at all was made of it.
 */
import { ClaimChecker } from "../../../apps/credit-worker/claim-checker.ts";
import { BATCH_CLAIMS_MAX } from "../../../core/format/claim-batch.ts";
import { sealPass } from "../../../core/format/pass.ts";
import { encodeToken, readTokenNonce } from "../../../core/format/token.ts";
import type { EpochDir } from "../../../core/store/campaign-dir.ts";
import { readMintKey } from "../../../core/store/keystore.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import type { NodeLoot } from "./loot.ts";
import type { QuietNode } from "./quiet-node.ts";

const HOLDER = { user: "mallory", device: "phone" };

/** A genuine token and a genuine pass for it: whatever is made of the token is tried with this pass. */
export interface Held {
  readonly token: Buffer;
  readonly text: string;
  readonly pass: string;
}

export class NodeDoor {
  private readonly node: QuietNode;
  private readonly loot: NodeLoot;

  constructor(node: QuietNode, loot: NodeLoot) {
    this.node = node;
    this.loot = loot;
  }

  /** The pass that the node would have given with this token. */
  hold(token: Buffer): Held {
    const { keys, quotaKey } = this.loot;
    const packet = readTokenNonce(token);
    const pass = sealPass({ receipt: keys.receipt, quota: quotaKey }, HOLDER, { packet, won: [] });
    return { token, text: encodeToken(token), pass };
  }

  /** True for any other answer than "this is no token": also one that only asks for a better pass. */
  async takes(text: string, pass: string): Promise<boolean> {
    return (await this.node.opener.open({ token: text, pass, ...HOLDER })) !== "invalid-token";
  }

  /** True if the holder is told an amount. */
  async pays({ text, pass }: Held): Promise<boolean> {
    return typeof (await this.node.opener.open({ token: text, pass, ...HOLDER })) === "object";
  }
}

export class WorkerDoor {
  /** Tokens at a time. */
  readonly width = BATCH_CLAIMS_MAX;
  private readonly checker: ClaimChecker;
  private readonly shard: number;

  private constructor(checker: ClaimChecker, shard: number) {
    this.checker = checker;
    this.shard = shard;
  }

  static async of(epoch: EpochDir, shard: number): Promise<WorkerDoor> {
    const { manifest } = await readManifest(epoch);
    const settlement = await readMintKey("settlement", epoch.settlementKey, manifest);
    return new WorkerDoor(new ClaimChecker(manifest, settlement), shard);
  }

  /** @returns the tokens that would be credited */
  takes(tokens: readonly Buffer[]): Buffer[] {
    const claims = tokens.map((token) => ({ token, ...HOLDER, atMs: 0 }));
    const checked = this.checker.check(this.shard, claims);
    return tokens.filter((_, i) => checked[i]?.verdict === "authentic");
  }
}
