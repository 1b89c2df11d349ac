/**
 * A campaign minted by the real generator under fixed keys, and copied onto a simulated disk: where a node's life
 * begins.
 */
import { createPrivateKey } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keyText } from "../../../core/format/keyfile.ts";
import { type Manifest, parseManifest } from "../../../core/format/manifest.ts";
import { seedLayout } from "../../../core/format/seedfile.ts";
import type { SigningKey } from "../../../core/format/signature.ts";
import { TOKEN_BYTES, tokenSerial } from "../../../core/format/token.ts";
import { CampaignDir, type Roots } from "../../../core/store/campaign-dir.ts";
import { createKeyFile } from "../../../core/store/keystore.ts";
import { generate } from "../../../generator/generate.ts";
import { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";

/** Roots on the simulated disk. */
export const ROOTS = { seedsDir: "/srv/seeds", keysDir: "/srv/keys", dataDir: "/srv/data" } as const;

export const CAMPAIGN = {
  campaign: "gala-power",
  mode: "test",
  shards: 1,
  split: { rule: "double-mean", minCents: 1, maxCents: 2000 },
  ads: [
    { id: 1, name: "Sponsor A", weight: 3 },
    { id: 2, name: "Sponsor B", weight: 2 },
    { id: 3, name: "Sponsor C", weight: 1 },
  ],
  quota: { perUser: 3, perAd: 1 },
  expiresAt: "2099-01-01T00:00:00Z",
} as const;

const MASTER = Buffer.alloc(32, 1);
const OPERATOR = ed25519(Buffer.alloc(32, 2));

/** Where a packet lies. */
interface Seat {
  readonly lane: number;
  readonly position: number;
}

export interface MintedDisk {
  /** Nobody writes to it: lives are lived on copies. */
  readonly disk: SimulatedDisk;
  readonly manifest: Manifest;
  readonly operator: SigningKey;
  /** By serial. */
  readonly seats: readonly Seat[];
}

/** @param packets of the one shard */
export async function mintedDisk(packets: number): Promise<MintedDisk> {
  const dir = mkdtempSync(join(tmpdir(), "hongbao-"));
  try {
    const roots = { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
    await mint(roots, packets);
    const files = [
      ...filesBelow(roots.seedsDir, ROOTS.seedsDir),
      ...filesBelow(roots.keysDir, ROOTS.keysDir),
    ];
    const disk = SimulatedDisk.holding(files);
    const epoch = new CampaignDir(ROOTS, CAMPAIGN.campaign).epoch(1);
    const held = disk.files();
    const manifest = parseManifest(held.get(epoch.manifest) ?? Buffer.alloc(0), epoch.manifest);
    return { disk, manifest, operator: OPERATOR, seats: seatsOf(manifest, held.get(epoch.seed(0))) };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function mint(roots: Roots, packets: number): Promise<void> {
  const dir = new CampaignDir(roots, CAMPAIGN.campaign);
  const names = { campaign: CAMPAIGN.campaign, mode: CAMPAIGN.mode };
  const master = { format: "hongbao.master-key.v1", ...names, master: keyText(MASTER) } as const;
  await createKeyFile<"master">(dir.masterKey, master);
  const operator = { format: "hongbao.signing-key.v1", role: "operator", ...OPERATOR } as const;
  await createKeyFile<"signing">(dir.operatorKey, operator);
  const campaignText = JSON.stringify({ ...CAMPAIGN, packets, budgetCents: 100 * packets });
  await generate(
    { roots, campaignText, workers: 1, dryRun: false, resume: false },
    { nowMs: Date.parse("2026-01-01T00:00:00Z"), progress: { update() {} } },
  );
}

function seatsOf({ shards }: Manifest, file: Buffer | undefined): Seat[] {
  const seats: Seat[] = [];
  for (const [lane, { recordsAt, packets }] of seedLayout(shards[0]?.lanes ?? []).lanes.entries())
    for (let position = 0; position < packets; position++) {
      const at = recordsAt + position * TOKEN_BYTES;
      if (file) seats[tokenSerial(file.subarray(at, at + TOKEN_BYTES))] = { lane, position };
    }
  return seats;
}

function filesBelow(dir: string, as: string): [path: string, bytes: Buffer][] {
  return readdirSync(dir).flatMap((name): [string, Buffer][] => {
    const [path, place] = [join(dir, name), `${as}/${name}`];
    return statSync(path).isDirectory() ? filesBelow(path, place) : [[place, readFileSync(path)]];
  });
}

/** The key pair of a seed (RFC 8032), read from its PKCS #8 form (RFC 8410). */
function ed25519(seed: Buffer): SigningKey {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const { d, x } = createPrivateKey({ key: der, format: "der", type: "pkcs8" }).export({ format: "jwk" });
  if (d === undefined || x === undefined) throw new Error("the platform made no Ed25519 key");
  return { privateKey: d, publicKey: x };
}
