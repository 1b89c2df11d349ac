/**
 * A machine: directories of its own for seeds, keys and data, which can be copied to another one, and nodes that
 * are started on them, or refused.
 */
import { cpSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CampaignDir, type EpochDir, type Roots } from "../../../core/store/campaign-dir.ts";
import { Program } from "../stage/program.ts";

export type Part = "seeds" | "keys" | "data";

/** A node that serves, or why it does not. */
export interface Start {
  readonly program: Program;
  /** Empty if it was refused. */
  readonly url: string;
  readonly refused: { readonly code: string; readonly message: string } | undefined;
  readonly tookMs: number;
}

export class Machine {
  readonly dir: string;
  readonly campaign: string;

  constructor(dir: string, campaign: string) {
    this.dir = dir;
    this.campaign = campaign;
  }

  static empty(campaign: string): Machine {
    return new Machine(mkdtempSync(join(tmpdir(), "hongbao-")), campaign);
  }

  /** Another machine that is given copies of these. */
  copy(parts: readonly Part[]): Machine {
    const other = Machine.empty(this.campaign);
    for (const part of parts) cpSync(join(this.dir, part), join(other.dir, part), { recursive: true });
    return other;
  }

  get roots(): Roots {
    const { dir } = this;
    return { seedsDir: join(dir, "seeds"), keysDir: join(dir, "keys"), dataDir: join(dir, "data") };
  }

  get epochDir(): EpochDir {
    return new CampaignDir(this.roots, this.campaign).epoch(1);
  }

  get environment(): Record<string, string> {
    const { seedsDir, keysDir, dataDir } = this.roots;
    return { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir };
  }

  node(shard: number, env: Record<string, string>): Program {
    const args = ["node", "--campaign", this.campaign, "--shard", `${shard}`, "--port", "0", "--open-now"];
    return new Program([...args, "--json"], { ...this.environment, ...env });
  }

  /** Takes a part away, out of every program's sight. @returns how to put it back in the place of what is there */
  setAside(part: Part): () => void {
    const [place, aside] = [join(this.dir, part), join(this.dir, `${part}-aside`)];
    renameSync(place, aside);
    return () => {
      rmSync(place, { recursive: true, force: true });
      renameSync(aside, place);
    };
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Starts a node until it is ready or has said why it will not be. */
export async function start(program: Program): Promise<Start> {
  const startedMs = performance.now();
  const line = JSON.parse(await program.start()) as { url?: string; error?: Start["refused"] };
  const tookMs = performance.now() - startedMs;
  return { program, url: line.url ?? "", refused: line.error, tookMs };
}
