/**
 * The generator's run: keys, lanes, seed files, manifest, signature. Wherever it dies, `generate --resume` must end
 * in the very bytes of a mint that nobody interrupted, under the same keys, and leave nothing beside them.
 */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { CampaignDir, type Roots } from "../../../core/store/campaign-dir.ts";
import { generate } from "../../../generator/generate.ts";
import { Mortal } from "./mortal.ts";
import type { Play, Scene } from "./play.ts";

const CAMPAIGN = {
  campaign: "gala-test",
  mode: "test",
  budgetCents: 4_000,
  packets: 40,
  shards: 2,
  split: { rule: "double-mean", minCents: 1, maxCents: 1_000 },
  ads: [
    { id: 1, name: "Sponsor A", weight: 3 },
    { id: 2, name: "Sponsor B", weight: 1 },
  ],
  expiresAt: "2099-01-01T00:00:00Z",
};

export const mintPlay: Play = {
  name: "generator",
  // Nobody is told anything before the end.
  isBound: () => true,
  heart: /\.seed\.part$/,
  atOnce: 2,
  perform: async (scene) => {
    const { dir, violations, fates, lastCall } = scene;
    const file = join(dir, "campaign.json");
    writeFileSync(file, JSON.stringify(CAMPAIGN));
    const roots = rootsBelow(join(dir, "mint"));
    const options = {
      // The first life finds nothing to resume, and begins.
      args: ["generate", file, "--workers", "2", "--resume"],
      env: { SEEDS_DIR: roots.seedsDir, KEYS_DIR: roots.keysDir },
      upWhen: "",
      below: join(dir, "mint"),
      logs: dir,
    };
    const generator = new Mortal(options, lastCall, fates);
    const end = await generator.end;
    violations.expect(end === 0, `the generator ended with ${end}: ${generator.stderr}`);
    if (end === 0) await compare(scene, roots);
    return generator.lives.slice(0, fates.length);
  },
};

/** Against a mint in one go, under the keys that the interrupted one made. */
async function compare({ dir, fates, violations }: Scene, roots: Roots): Promise<void> {
  const twin = rootsBelow(join(dir, "twin"));
  const [from, to] = [roots, twin].map((of) => new CampaignDir(of, CAMPAIGN.campaign));
  if (from === undefined || to === undefined) return;
  for (const key of ["masterKey", "operatorKey"] as const) {
    mkdirSync(dirname(to[key]), { recursive: true });
    if (existsSync(from[key])) copyFileSync(from[key], to[key]);
  }
  await generate(
    { roots: twin, campaignText: JSON.stringify(CAMPAIGN), workers: 2, dryRun: false, resume: false },
    { nowMs: Date.parse("2026-01-01T00:00:00Z"), progress: { update() {} } },
  );
  const [resumed, whole] = [filesBelow(join(dir, "mint")), filesBelow(join(dir, "twin"))];
  for (const name of new Set([...resumed.keys(), ...whole.keys()]))
    violations.expect(
      resumed.get(name) === whole.get(name),
      `${name} is not that of a mint in one go (killed ${fates.length} times)`,
    );
}

function rootsBelow(dir: string): Roots {
  return { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
}

/** Every file below a directory: mode and hash. The lock is not data. */
function filesBelow(dir: string): Map<string, string> {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== "mint.lock")
    .map((entry) => join(entry.parentPath, entry.name));
  return new Map(
    files.map((path) => {
      const hash = createHash("sha256").update(readFileSync(path)).digest("hex");
      return [path.slice(dir.length + 1), `${(statSync(path).mode & 0o777).toString(8)} ${hash}`];
    }),
  );
}
