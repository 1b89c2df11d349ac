/**
 * What every simulated life begins with, made once a process: a small campaign, minted by the real generator under
 * fixed keys, on a disk of its own; a table of all its packets; and ledgers that nobody has used yet.
 */
import { createPrivateKey } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { invariant } from "../../../core/format/error.ts";
import { keyBytes, keyText } from "../../../core/format/keyfile.ts";
import { shardKeys } from "../../../core/format/keyring.ts";
import { type Manifest, shardScope } from "../../../core/format/manifest.ts";
import type { SigningKey } from "../../../core/format/signature.ts";
import { encodeToken, TOKEN_BYTES, tokenOpener } from "../../../core/format/token.ts";
import { CampaignDir, type EpochDir, type Roots } from "../../../core/store/campaign-dir.ts";
import { createKeyFile, readMintKey } from "../../../core/store/keystore.ts";
import { openLedger } from "../../../core/store/ledger.ts";
import { type ManifestFile, readManifest } from "../../../core/store/manifest-file.ts";
import { SeedReader } from "../../../core/store/seed-reader.ts";
import { generate } from "../../../generator/generate.ts";
import { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";

const CAMPAIGN = "gala-simulated";
export const EXPIRES_AT = "2027-02-07T00:00:00Z";
const LEDGERS = 5;

/** Where files lie on every simulated disk. */
export const SIMULATED_ROOTS = { seedsDir: "/seeds", keysDir: "/keys", dataDir: "/data" };

/** A packet as the mint made it: the simulation's own knowledge, against which every answer is held. */
export interface Card {
  readonly shard: number;
  readonly serial: number;
  readonly lane: number;
  readonly position: number;
  readonly ad: number;
  readonly cents: number;
  readonly token: string;
}

export interface Deck {
  readonly campaign: string;
  readonly manifest: Manifest;
  /** Cards of each shard, by serial. */
  readonly cards: readonly (readonly Card[])[];
  /** By spelling. */
  readonly byToken: ReadonlyMap<string, Card>;
  readonly operator: SigningKey;
  /** A disk with the mint's files and nothing else; all of it is synced. */
  readonly disk: SimulatedDisk;
  /** Bytes of ledgers that were made for this mint, each with a name of its own. */
  readonly ledgers: readonly Buffer[];
  /** Real files: for finance, which reads no other. */
  readonly roots: Roots;
  remove(): void;
}

export async function makeDeck(): Promise<Deck> {
  const dir = mkdtempSync(join(tmpdir(), "hongbao-simulation-"));
  const roots = { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
  const campaignDir = new CampaignDir(roots, CAMPAIGN);
  const operator = fixedSigningKey();
  await createKeyFile<"master">(campaignDir.masterKey, {
    format: "hongbao.master-key.v1",
    campaign: CAMPAIGN,
    mode: "test",
    master: keyText(Buffer.alloc(32, 1)),
  });
  await createKeyFile<"signing">(campaignDir.operatorKey, {
    format: "hongbao.signing-key.v1",
    role: "operator",
    ...operator,
  });
  const options = { roots, campaignText: CAMPAIGN_TEXT, workers: 1, dryRun: false, resume: false };
  await generate(options, { nowMs: Date.parse("2026-01-01T00:00:00Z"), progress: { update() {} } });
  const epoch = campaignDir.epoch(1);
  const file = await readManifest(epoch);
  const cards = await readCards(epoch, file.manifest);
  return {
    campaign: CAMPAIGN,
    manifest: file.manifest,
    cards,
    byToken: new Map(cards.flat().map((card) => [card.token, card])),
    operator,
    disk: onSimulatedDisk(epoch, file.manifest),
    ledgers: await newLedgers(dir, file),
    roots,
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Two sponsors, unequal shards, users who may win three, and lanes that run out. */
const CAMPAIGN_TEXT = JSON.stringify({
  campaign: CAMPAIGN,
  mode: "test",
  budgetCents: 24_000,
  packets: 120,
  shards: 2,
  split: { rule: "double-mean", minCents: 1, maxCents: 2000 },
  ads: [
    { id: 1, name: "Sponsor A", weight: 2 },
    { id: 2, name: "Sponsor B", weight: 1 },
  ],
  quota: { perUser: 3, perAd: 2 },
  expiresAt: EXPIRES_AT,
});

/** RFC 8410: an Ed25519 key in PKCS #8 is this and 32 bytes. */
const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

function fixedSigningKey(): SigningKey {
  const key = Buffer.concat([PKCS8_ED25519, Buffer.alloc(32, 2)]);
  const { d, x } = createPrivateKey({ key, format: "der", type: "pkcs8" }).export({ format: "jwk" });
  invariant(d !== undefined && x !== undefined, "an Ed25519 key has two halves");
  return { privateKey: d, publicKey: x };
}

async function readCards(epoch: EpochDir, manifest: Manifest): Promise<Card[][]> {
  const all: Card[][] = [];
  for (const place of manifest.shards) {
    const { shard } = place;
    const keys = await readMintKey("node", epoch.nodeKey(shard), manifest);
    const open = tokenOpener(
      shardKeys(keyBytes(keys.shards[0]?.key ?? "")).token,
      shardScope(manifest, place),
    );
    const seeds = await SeedReader.open(epoch.seed(shard), manifest, place);
    const cards: Card[] = [];
    for (const [lane, layout] of seeds.layout.lanes.entries()) {
      const block = await seeds.readBlock(layout, 0);
      invariant(layout.blocks === 1, "a simulated lane is one block");
      for (let position = 0; position < layout.packets; position++) {
        const token = block.subarray(position * TOKEN_BYTES, (position + 1) * TOKEN_BYTES);
        const packet = open(token);
        invariant(packet !== undefined, "the mint's tokens open");
        const { serial, ad, cents } = packet;
        cards[serial] = { shard, serial, lane, position, ad, cents, token: encodeToken(token) };
      }
    }
    await seeds.close();
    all.push(cards);
  }
  return all;
}

function onSimulatedDisk(epoch: EpochDir, manifest: Manifest): SimulatedDisk {
  const there = new CampaignDir(SIMULATED_ROOTS, epoch.of.campaign).epoch(epoch.epoch);
  const paths = [
    [epoch.manifest, there.manifest],
    [epoch.signature("operator"), there.signature("operator")],
    [epoch.settlementKey, there.settlementKey],
    ...manifest.shards.flatMap(({ shard }) => [
      [epoch.seed(shard), there.seed(shard)],
      [epoch.nodeKey(shard), there.nodeKey(shard)],
    ]),
  ] as const;
  return SimulatedDisk.holding(paths.map(([from = "", to = ""]) => [to, readFileSync(from)] as const));
}

async function newLedgers(dir: string, file: ManifestFile): Promise<Buffer[]> {
  const ledgers: Buffer[] = [];
  for (let i = 0; i < LEDGERS; i++) {
    const path = join(dir, `ledger-${i}.db`);
    const ledger = await openLedger({ kind: "sqlite", path }, file);
    ledger.close();
    invariant(!existsSync(`${path}-wal`), "a closed ledger is one file");
    ledgers.push(readFileSync(path));
  }
  return ledgers;
}
