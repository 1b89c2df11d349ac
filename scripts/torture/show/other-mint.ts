/**
 * A second campaign that is minted beside the show, killed anywhere and resumed, under keys that are given: from time
 * to time it is resumed to its end, and must then be, byte for byte, what an uninterrupted mint under the same keys is.
 */
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CampaignDir, type Roots } from "../../../core/store/campaign-dir.ts";
import type { Violations } from "../experiment.ts";
import type { SeededRandom } from "../random.ts";
import { SecretSearch } from "../secrets.ts";
import { hongbao, Program } from "../stage/program.ts";

const CAMPAIGN = {
  campaign: "other",
  mode: "test",
  budgetCents: 2_000_000,
  packets: 20_000,
  shards: 3,
  split: { rule: "double-mean", minCents: 1, maxCents: 2000 },
  ads: [
    { id: 1, name: "Sponsor C", weight: 2 },
    { id: 2, name: "Sponsor D", weight: 1 },
  ],
  expiresAt: "2099-01-01T00:00:00Z",
};
/** A mint dies so often before it is resumed to its end. */
const KILLS_PER_MINT = 5;

export class OtherMint {
  kills = 0;
  compared = 0;
  private readonly dir: string;
  private readonly random: SeededRandom;
  private readonly violations: Violations;
  private secrets: SecretSearch | undefined;
  private wholeMs = 0;

  /** @param dir made here, and removed by whoever gave it */
  constructor(dir: string, random: SeededRandom, violations: Violations) {
    this.dir = dir;
    this.random = random;
    this.violations = violations;
  }

  /** The uninterrupted mint: its bytes are the measure, and its keys are everybody's. */
  async prepare(): Promise<void> {
    mkdirSync(this.dir);
    writeFileSync(this.file, JSON.stringify(CAMPAIGN));
    const startedMs = performance.now();
    await this.mintToTheEnd("whole");
    this.wholeMs = performance.now() - startedMs;
    const epoch = new CampaignDir(this.roots("whole"), CAMPAIGN.campaign).epoch(1);
    this.secrets = new SecretSearch(epoch, (what) => this.violations.add(`secret in a log: ${what}`));
    this.beginAnew();
  }

  /** Starts or resumes the mint and kills it at a moment of its life; every fifth time it is then made whole. */
  async kill(): Promise<void> {
    const hear = (said: Uint8Array) => this.secrets?.hear("generator", said);
    const program = new Program(this.args, this.environment("killed"), hear);
    await program.start(false);
    await sleep(this.random.below(Math.ceil(this.wholeMs)));
    await program.kill();
    if (++this.kills % KILLS_PER_MINT === 0) await this.finish();
  }

  /** Resumes what was killed last, to its end. */
  async finish(): Promise<void> {
    await this.mintToTheEnd("killed");
    this.compare();
    this.beginAnew();
  }

  private async mintToTheEnd(place: string): Promise<void> {
    const { code, stdout, stderr } = await hongbao(this.args, this.environment(place));
    this.secrets?.hear("generator", stdout + stderr);
    this.violations.expect(code === 0, `a mint ended with ${code}: ${stderr}`);
  }

  private compare(): void {
    this.compared++;
    const [whole, killed] = [everyByte(join(this.dir, "whole")), everyByte(join(this.dir, "killed"))];
    for (const path of new Set([...whole.keys(), ...killed.keys()]))
      this.violations.expect(
        whole.get(path) === killed.get(path),
        `a mint that was killed and resumed differs from an uninterrupted one in ${path}`,
      );
  }

  private beginAnew(): void {
    rmSync(join(this.dir, "killed"), { recursive: true, force: true });
    for (const name of ["master.key", "operator.key"])
      cpSync(this.key("whole", name), this.key("killed", name));
  }

  private key(place: string, name: string): string {
    return join(this.dir, place, "keys", CAMPAIGN.campaign, name);
  }

  private get file(): string {
    return join(this.dir, "other.json");
  }

  private get args(): string[] {
    return ["generate", this.file, "--resume", "--workers", "1", "--json"];
  }

  private roots(place: string): Roots {
    const root = join(this.dir, place);
    return { seedsDir: join(root, "seeds"), keysDir: join(root, "keys"), dataDir: join(root, "data") };
  }

  private environment(place: string): Record<string, string> {
    const { seedsDir, keysDir, dataDir } = this.roots(place);
    return { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir, LOG_LEVEL: "trace" };
  }
}

/** Every file below a directory: its mode and the hash of its bytes. The lock is not data. */
function everyByte(root: string): Map<string, string> {
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && entry.name !== "mint.lock",
  );
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const hash = createHash("sha256").update(readFileSync(path)).digest("hex");
      return [relative(root, path), `${(statSync(path).mode & 0o777).toString(8)} ${hash}`];
    }),
  );
}
