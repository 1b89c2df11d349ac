/**
 * Mints for the generator's tests: roots of their own in a temporary directory, with fixed keys where the bytes
 * must be known. Everything is read back by the reference implementation, not by the code that minted it.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { checksumHolds } from "../../core/format/checksum.ts";
import { keyBytes, parseKeyFile } from "../../core/format/keyfile.ts";
import { shardKey, shardKeys } from "../../core/format/keyring.ts";
import { type Manifest, parseManifest, shardHeader, shardScope } from "../../core/format/manifest.ts";
import { HASH_BYTES, leafHash } from "../../core/format/merkle.ts";
import { BLOCK_BYTES, encodeSeedHeader, seedLayout, seedRoot } from "../../core/format/seedfile.ts";
import { TOKEN_BYTES, tokenOpener } from "../../core/format/token.ts";
import type { Roots } from "../../core/store/campaign-dir.ts";
import { createKeyFile } from "../../core/store/keystore.ts";
import { type GenerateOptions, generate } from "../../generator/generate.ts";
import type { GenerateReport } from "../../generator/summary.ts";
import { PLAIN } from "./campaigns.ts";

export const NOW_MS = Date.parse("2026-12-01T00:00:00Z");

const made: string[] = [];
afterAll(() => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true });
});

export function freshRoots(): Roots {
  const dir = mkdtempSync(join(tmpdir(), "hongbao-mint-"));
  made.push(dir);
  return { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
}

export function run(
  roots: Roots,
  changes: Record<string, unknown> = {},
  options: Partial<GenerateOptions> = {},
): Promise<GenerateReport> {
  const campaignText = JSON.stringify({ ...PLAIN, packets: 3000, ...changes });
  return generate(
    { roots, campaignText, workers: 2, dryRun: false, resume: false, ...options },
    { nowMs: NOW_MS, progress: { update() {} } },
  );
}

/** A key that is no secret, so that minted bytes can be vectors. */
export async function giveMasterKey(roots: Roots, campaign = "gala-2027", mode: "test" | "live" = "test") {
  await mkdir(join(roots.keysDir, campaign), { recursive: true });
  const master = Buffer.alloc(32, 0x5a).toString("base64url");
  const path = join(roots.keysDir, campaign, "master.key");
  await createKeyFile<"master">(path, { format: "hongbao.master-key.v1", campaign, mode, master });
}

/** RFC 8032 section 7.1, test 1: a signing key that everybody knows. */
export async function giveOperatorKey(path: string): Promise<void> {
  const hex = (text: string) => Buffer.from(text, "hex").toString("base64url");
  await createKeyFile<"signing">(path, {
    format: "hongbao.signing-key.v1",
    role: "operator",
    privateKey: hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
    publicKey: hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
  });
}

/** Every file below the roots with its mode and the hash of its bytes; the lock is not data. */
export function everyByte(roots: Roots): Record<string, string> {
  const found: Record<string, string> = {};
  for (const root of ["seedsDir", "keysDir"] as const)
    for (const name of filesBelow(roots[root])) {
      if (name.endsWith("mint.lock")) continue;
      const path = join(roots[root], name);
      found[`${root}/${name}`] =
        `${(statSync(path).mode & 0o777).toString(8)} ${createHash("sha256").update(readFileSync(path)).digest("hex")}`;
    }
  return found;
}

export function filesBelow(dir: string): string[] {
  try {
    return readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
      .sort();
  } catch {
    return [];
  }
}

export interface OpenedPacket {
  readonly shard: number;
  readonly serial: number;
  readonly cents: number;
  readonly ad: number;
}

/** Opens an epoch as its users would: manifest, roots, then each token on the reference implementation. */
export function openEpoch(
  roots: Roots,
  campaign = "gala-2027",
  epoch = 1,
): { manifest: Manifest; packets: OpenedPacket[] } {
  const seeds = join(roots.seedsDir, campaign, `e${epoch}`);
  const manifest = parseManifest(readFileSync(join(seeds, "manifest.json")), "manifest.json");
  const keyFile = join(roots.keysDir, campaign, `e${epoch}`, "settlement.key");
  const settlement = parseKeyFile("settlement", readFileSync(keyFile, "utf8"), keyFile);
  const packets = manifest.shards.flatMap((shard) => {
    const bytes = readFileSync(join(seeds, `shard-${shard.shard.toString().padStart(4, "0")}.seed`));
    const { headerBytes, hashesAt, recordsAt, lanes } = seedLayout(shard.lanes);
    const header = bytes.subarray(0, headerBytes);
    if (!encodeSeedHeader(shardHeader(manifest, shard)).equals(header)) throw new Error("wrong header");
    const hashes: Buffer[] = [];
    for (let at = hashesAt; at < recordsAt; at += HASH_BYTES)
      hashes.push(bytes.subarray(at, at + HASH_BYTES));
    if (seedRoot(header, hashes).toString("hex") !== shard.root) throw new Error("wrong root");
    const open = tokenOpener(
      shardKeys(shardKey(keyBytes(settlement.tokenRoot), shard.shard)).token,
      shardScope(manifest, shard),
    );
    return lanes.flatMap((lane) => {
      const records = bytes.subarray(lane.recordsAt, lane.recordsAt + lane.packets * TOKEN_BYTES);
      for (let block = 0; block < lane.blocks; block++) {
        const leaf = leafHash(records.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES));
        if (!leaf.equals(hashes[lane.firstBlock + block] ?? Buffer.alloc(0)))
          throw new Error("wrong block hash");
      }
      return Array.from({ length: lane.packets }, (_, i): OpenedPacket => {
        const packet = open(records.subarray(i * TOKEN_BYTES, (i + 1) * TOKEN_BYTES));
        if (packet === undefined || packet.ad !== lane.ad) throw new Error("a token does not open");
        const settled = {
          epoch,
          shard: shard.shard,
          serial: packet.serial,
          cents: packet.cents,
          ad: packet.ad,
        };
        if (!checksumHolds(keyBytes(settlement.settlementKey), settled, packet.checksum))
          throw new Error("wrong checksum");
        return { shard: shard.shard, serial: packet.serial, cents: packet.cents, ad: packet.ad };
      });
    });
  });
  return { manifest, packets };
}
