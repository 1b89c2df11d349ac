/**
 * A small show for the tests of reconcile: seeds by the real generator, journals by the real writer, credits by
 * the real worker. Nothing is faked but the node in front of the journal, so that a test decides what happens to
 * each packet.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import pino from "pino";
import { takeOwnership } from "../../../apps/access-node/ownership.ts";
import { openBooks } from "../../../apps/credit-worker/books.ts";
import { systemClock } from "../../../apps/credit-worker/clock.ts";
import { Crediting } from "../../../apps/credit-worker/credit.ts";
import { Pace } from "../../../apps/credit-worker/pace.ts";
import { replayJournals } from "../../../apps/credit-worker/replay.ts";
import type { Claim } from "../../../core/format/claim.ts";
import type { Frame } from "../../../core/format/frame.ts";
import { keyBytes } from "../../../core/format/keyfile.ts";
import { shardKeys } from "../../../core/format/keyring.ts";
import { shardScope } from "../../../core/format/manifest.ts";
import { campaignTag, sealToken, TOKEN_BYTES, tokenOpener } from "../../../core/format/token.ts";
import { CampaignDir, type EpochDir, type Roots } from "../../../core/store/campaign-dir.ts";
import { Journal } from "../../../core/store/journal.ts";
import { readKeyFile } from "../../../core/store/keystore.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import { SeedReader } from "../../../core/store/seed-reader.ts";
import { generate } from "../../../generator/generate.ts";
import { type ReconcileOptions, reconcile } from "../../../scripts/reconcile/reconcile.ts";
import type { ReconcileReport } from "../../../scripts/reconcile/report.ts";

export const CAMPAIGN = "gala-test";

export interface StagePacket {
  readonly id: string;
  readonly shard: number;
  readonly lane: number;
  readonly position: number;
  readonly serial: number;
  readonly cents: number;
  readonly ad: number;
  readonly token: Buffer;
}

const minted: { dir: string; packets: StagePacket[] }[] = [];

/** Mints once a test file; every stage is a copy. */
export async function mintOnce(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "reconcile-mint-"));
  const campaign = {
    campaign: CAMPAIGN,
    mode: "test",
    budgetCents: 60_000,
    packets: 300,
    shards: 2,
    split: { rule: "double-mean", minCents: 1, maxCents: 2000 },
    ads: [
      { id: 1, name: "Sponsor A", weight: 2 },
      { id: 7, name: '=cmd("B")', weight: 1 },
    ],
    quota: { perUser: 2, perAd: 2 },
    expiresAt: "2099-01-01T00:00:00Z",
  };
  const options = { roots: rootsIn(dir), campaignText: JSON.stringify(campaign), workers: 1 };
  await generate({ ...options, dryRun: false, resume: false }, { nowMs: 0, progress: { update: () => {} } });
  const epoch = new CampaignDir(rootsIn(dir), CAMPAIGN).epoch(1);
  minted.push({ dir, packets: await readPackets(epoch) });
}

export function forgetMint(): void {
  for (const { dir } of minted.splice(0)) rmSync(dir, { recursive: true, force: true });
}

export class Stage {
  readonly dir = mkdtempSync(join(tmpdir(), "reconcile-"));
  readonly roots = rootsIn(this.dir);
  readonly epoch = new CampaignDir(this.roots, CAMPAIGN).epoch(1);
  readonly packets: readonly StagePacket[];
  private readonly nodes: StageNode[] = [];

  constructor() {
    const [source] = minted;
    if (source === undefined) throw new Error("mint first");
    cpSync(source.dir, this.dir, { recursive: true });
    this.packets = source.packets;
  }

  /** The packets of a lane, in the order in which they are handed out. */
  lane(shard: number, lane: number): StagePacket[] {
    return this.packets.filter((packet) => packet.shard === shard && packet.lane === lane);
  }

  /** A node of the shard: starts it, or starts it again. */
  async node(shard: number): Promise<StageNode> {
    const { manifest } = await readManifest(this.epoch);
    const manifestShard = manifest.shards[shard];
    if (manifestShard === undefined) throw new Error(`no shard ${shard}`);
    const seeds = await SeedReader.open(this.epoch.seed(shard), manifest, manifestShard);
    await takeOwnership(this.epoch, shard, campaignTag(CAMPAIGN), seeds, randomBytes);
    await seeds.close();
    const options = {
      onFailure: (error: Error) => {
        throw error;
      },
    };
    const node = new StageNode(await Journal.recover(this.epoch.node(shard), () => {}, options));
    this.nodes.push(node);
    return node;
  }

  /** Credits all that is in the journals, as `hongbao credit --replay` does. */
  async credit(...shards: number[]): Promise<void> {
    const dirs = shards.map((shard) => this.epoch.node(shard));
    await replayJournals({ roots: this.roots, campaign: CAMPAIGN, dirs }, { log });
  }

  /** Credits claims that come from elsewhere than the journal: a thief with the wire key. */
  async creditClaims(shard: number, journalId: Uint8Array, claims: readonly Claim[]): Promise<void> {
    const clock = systemClock(new AbortController().signal);
    const books = await openBooks({ roots: this.roots, campaign: CAMPAIGN }, clock);
    await new Crediting(books, { pace: new Pace(undefined, clock), clock, log }).settle(
      shard,
      journalId,
      claims,
    );
    books.ledger.close();
  }

  /** What a database administrator could do. */
  sql(statements: string): void {
    const db = new Database(this.epoch.of.ledger);
    db.pragma("foreign_keys = OFF");
    db.pragma("ignore_check_constraints = ON");
    db.exec(statements);
    db.close();
  }

  /** A token under the shard's node key, without the settlement key: what a stolen node can make. */
  async forge(shard: number, serial: number, cents: number, ad: number): Promise<Buffer> {
    const { manifest } = await readManifest(this.epoch);
    const file = await readKeyFile("node", this.epoch.nodeKey(shard));
    const [own, place] = [file.shards[0], manifest.shards[shard]];
    if (own === undefined || place === undefined) throw new Error("no such shard");
    const packet = { serial, cents, ad, checksum: new Uint8Array(6) };
    return Buffer.from(sealToken(shardKeys(keyBytes(own.key)).token, shardScope(manifest, place), packet));
  }

  reconcile(options: Partial<ReconcileOptions> = {}): Promise<ReconcileReport> {
    return reconcile({ roots: this.roots, campaign: CAMPAIGN, audit: false, ...options });
  }

  /** Makes a published file writable, to damage it. */
  unlock(path: string): string {
    chmodSync(path, 0o600);
    return path;
  }

  async remove(): Promise<void> {
    for (const node of this.nodes) await node.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export class StageNode {
  readonly journal: Journal;
  private stopped = false;

  constructor(journal: Journal) {
    this.journal = journal;
  }

  issue(packet: StagePacket, user = `user-${packet.id}`, device = "phone"): this {
    const { lane, position, serial } = packet;
    return this.append({ type: "issue", lane, position, serial, user, device, atMs: 1, won: [] });
  }

  claim(packet: StagePacket, user = `user-${packet.id}`, device = "phone"): this {
    return this.append({ type: "claim", ...claimOf(packet, user, device), serial: packet.serial });
  }

  append(frame: Frame): this {
    this.journal.append(frame);
    return this;
  }

  /** Waits for the disk, as a node does before it answers. */
  async sync(): Promise<this> {
    await this.journal.durable(this.journal.appendedOffset);
    return this;
  }

  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    await this.journal.close();
  }
}

export function claimOf(packet: StagePacket, user = `user-${packet.id}`, device = "phone"): Claim {
  return { token: packet.token, user, device, atMs: 1_800_000_000_000 + packet.serial };
}

const log = pino({ level: "silent" });

function rootsIn(dir: string): Roots {
  return { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
}

async function readPackets(epoch: EpochDir): Promise<StagePacket[]> {
  const { manifest } = await readManifest(epoch);
  const packets: StagePacket[] = [];
  for (const place of manifest.shards) {
    const key = (await readKeyFile("node", epoch.nodeKey(place.shard))).shards[0]?.key ?? "";
    const open = tokenOpener(shardKeys(keyBytes(key)).token, shardScope(manifest, place));
    const reader = await SeedReader.open(epoch.seed(place.shard), manifest, place);
    for (const [lane, layout] of reader.layout.lanes.entries()) {
      const records = await reader.readBlock(layout, 0);
      for (let position = 0; position < layout.packets; position++) {
        const token = records.subarray(position * TOKEN_BYTES, (position + 1) * TOKEN_BYTES);
        const packet = open(token);
        if (packet === undefined) throw new Error("a minted token opens");
        const { serial, cents, ad } = packet;
        const id = `1-${place.shard}-${serial}`;
        packets.push({ id, shard: place.shard, lane, position, serial, cents, ad, token });
      }
    }
    await reader.close();
  }
  return packets;
}
