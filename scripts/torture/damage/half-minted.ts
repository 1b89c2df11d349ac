/**
 * A mint that was interrupted in the middle, to be spoiled and resumed: it must end in the bytes of a mint that nobody
 * interrupted, or be refused.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { parseCampaign } from "../../../core/format/campaign.ts";
import { type MintIdentity, mintKey, settlementKey, tokenRootKey } from "../../../core/format/keyring.ts";
import { CampaignDir, type Roots } from "../../../core/store/campaign-dir.ts";
import { makeDirectory } from "../../../core/store/durable.ts";
import { generate } from "../../../generator/generate.ts";
import { makeKeys } from "../../../generator/keys.ts";
import { mint } from "../../../generator/mint.ts";
import { makePlan, planHash } from "../../../generator/plan.ts";
import { publishKeyFiles } from "../../../generator/publish.ts";
import { runLanes } from "../../../generator/threads.ts";
import { Workshop } from "../../../generator/workshop.ts";

const CAMPAIGN_TEXT = JSON.stringify({
  campaign: "half",
  mode: "test",
  budgetCents: 8_000,
  packets: 40,
  shards: 1,
  split: { rule: "double-mean", minCents: 1, maxCents: 2_000 },
  ads: [
    { id: 1, name: "Sponsor A", weight: 3 },
    { id: 2, name: "Sponsor B", weight: 1 },
  ],
  expiresAt: "2099-01-01T00:00:00Z",
});
const NOW_MS = Date.parse("2026-01-01T00:00:00Z");

export class HalfMinted {
  private readonly dir: string;
  private readonly roots: Roots;
  /** Files of the interrupted mint, by their paths. */
  private readonly files: ReadonlyMap<string, Buffer>;
  private readonly finished: ReadonlyMap<string, string>;

  private constructor(
    dir: string,
    files: ReadonlyMap<string, Buffer>,
    finished: ReadonlyMap<string, string>,
  ) {
    this.dir = dir;
    this.roots = rootsIn(dir);
    this.files = files;
    this.finished = finished;
  }

  /** @param dir an empty place of its own */
  static async make(dir: string): Promise<HalfMinted> {
    await begin(rootsIn(dir));
    const files = new Map(filesBelow(dir).map((path) => [path, readFileSync(path)]));
    const copy = `${dir}-finished`;
    for (const [path, bytes] of files) {
      const to = join(copy, relative(dir, path));
      mkdirSync(dirname(to), { recursive: true });
      writeFileSync(to, bytes);
    }
    await resume(rootsIn(copy));
    const finished = fingerprints(copy);
    rmSync(copy, { recursive: true });
    return new HalfMinted(dir, files, finished);
  }

  /** What the interrupted mint has left, but for its lock. */
  get paths(): string[] {
    return [...this.files.keys()].filter((path) => !path.endsWith(".lock"));
  }

  original(path: string): Buffer {
    return this.files.get(path) ?? Buffer.alloc(0);
  }

  spoil(path: string, bytes: Uint8Array): void {
    rmSync(path, { force: true });
    writeFileSync(path, bytes);
  }

  restore(): void {
    rmSync(this.dir, { recursive: true, force: true });
    for (const [path, bytes] of this.files) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, bytes, { mode: 0o600 });
    }
  }

  /** @returns the files that a resumed mint made otherwise, but for the spoiled one itself */
  async resume(spoiled: string): Promise<string[]> {
    await resume(this.roots);
    const made = fingerprints(this.dir);
    const names = new Set([...made.keys(), ...this.finished.keys()]);
    return [...names].filter(
      (name) => name !== relative(this.dir, spoiled) && made.get(name) !== this.finished.get(name),
    );
  }
}

/** All steps of a mint up to the last lane's marker: what a generator leaves that dies in front of it. */
async function begin(roots: Roots): Promise<void> {
  const campaign = parseCampaign(CAMPAIGN_TEXT);
  const plan = makePlan(campaign);
  const hash = planHash(campaign, plan);
  const of = new CampaignDir(roots, campaign.campaign);
  const epoch = of.epoch(1);
  const identity: MintIdentity = { ...campaign, epoch: 1, planHash: hash };
  const keys = await makeKeys(campaign, of, { master: undefined, operator: undefined });
  const secrets = {
    ...identity,
    mintKey: mintKey(keys.master, identity),
    settlementKey: settlementKey(keys.master, identity),
    tokenRoot: tokenRootKey(keys.master, identity),
  };
  const workshop = new Workshop(epoch, hash.toString("hex"));
  await makeDirectory(epoch.seedsDir);
  await workshop.writePlan(campaign);
  await publishKeyFiles({ campaign, plan, planHash: hash, epoch }, secrets, keys);
  await mint({ plan, secrets, workers: 1, runLanes }, epoch, workshop, { update() {} });
  rmSync(workshop.marker(0, 2));
}

async function resume(roots: Roots): Promise<void> {
  await generate(
    { roots, campaignText: CAMPAIGN_TEXT, workers: 1, dryRun: false, resume: true },
    { nowMs: NOW_MS, progress: { update() {} } },
  );
}

function rootsIn(dir: string): Roots {
  return { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
}

function fingerprints(dir: string): Map<string, string> {
  return new Map(
    filesBelow(dir).map((path) => [
      relative(dir, path),
      createHash("sha256").update(readFileSync(path)).digest("hex"),
    ]),
  );
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    return entry.isDirectory() ? filesBelow(path) : [path];
  });
}
