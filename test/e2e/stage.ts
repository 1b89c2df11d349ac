/**
 * A small show that has been played with the compiled programs, as files: campaign `gala` (two shards, two epochs)
 * and campaign `other`. The node of shard 0 of gala's first epoch has served three users; their claims are in its
 * journal and, by a replay, in the ledger. Every test spoils a copy of its own.
 */
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { formatKeyFile, type KeyFile, type KeyFileKind, parseKeyFile } from "../../core/format/keyfile.ts";
import { run, startNode } from "./cli.ts";
import { fingerprint, secretsBelow } from "./refusals.ts";

export const SEEDS = "seeds/gala/e1";
export const KEYS = "keys/gala/e1";
export const JOURNAL = "data/gala/e1/node-0000";
export const SEGMENT = `${JOURNAL}/segment-00000000.log`;
export const LEDGER = "data/gala/ledger.db";
/** The node of the served shard. */
export const NODE = ["--campaign", "gala", "--epoch", "1", "--shard", "0"];
export const RECONCILE = ["reconcile", "gala", "--epoch", "1", "--json"];
export const REPLAY = ["credit", "--campaign", "gala", "--epoch", "1", "--replay", JOURNAL];
const USERS = 3;
/** What SQLite keeps beside a ledger while somebody reads it. */
const SCRATCH = /-(shm|wal)$/;

export function campaignText(campaign: string): string {
  return JSON.stringify({
    campaign,
    mode: "test",
    budgetCents: 4_000,
    packets: 40,
    shards: 2,
    split: { rule: "double-mean", minCents: 1, maxCents: 1_000 },
    ads: [
      { id: 1, name: "Tea", weight: 3 },
      { id: 2, name: "Carps", weight: 1 },
    ],
    expiresAt: "2040-02-07T00:00:00Z",
  });
}

export class Stage {
  readonly dir: string;
  /** A token that was opened and credited. */
  readonly token: string;
  /** Every key of every key file: no output may hold one. */
  readonly secrets: readonly string[];
  readonly fingerprint: ReadonlyMap<string, string>;

  private readonly scenes: Scene[] = [];

  private constructor(dir: string, token: string) {
    this.dir = dir;
    this.token = token;
    this.secrets = secretsBelow(dir);
    this.fingerprint = fingerprint(dir);
  }

  static async play(): Promise<Stage> {
    const dir = mkdtempSync(join(tmpdir(), "stage-"));
    for (const name of ["gala", "other"]) writeFileSync(join(dir, `${name}.json`), campaignText(name));
    const must = async (...args: string[]) => {
      const ended = await run(args, { cwd: dir });
      expect(ended.code, ended.stderr).toBe(0);
    };
    const mint = (file: string) => must("generate", file, "--workers", "1");
    await Promise.all([mint("gala.json").then(() => mint("gala.json")), mint("other.json")]);
    const { node, url } = await startNode([...NODE, "--open-now"], { cwd: dir });
    let token = "";
    for (let user = 0; user < USERS; user++) token = await shakeAndOpen(url, `user-${user}`);
    expect(await node.stop()).toBe(0);
    await must(...REPLAY);
    return new Stage(dir, token);
  }

  /** A copy to be spoiled. */
  scene(): Scene {
    const dir = mkdtempSync(join(tmpdir(), "scene-"));
    cpSync(this.dir, dir, { recursive: true, filter: (path) => !SCRATCH.test(path) });
    const scene = new Scene(dir, this);
    this.scenes.push(scene);
    return scene;
  }

  /** Takes away the stage and every scene. */
  remove(): void {
    for (const { dir } of [this, ...this.scenes]) rmSync(dir, { recursive: true, force: true });
  }
}

/** One spoiled copy. Paths are relative to it; what is spoiled here can be put right again. */
export class Scene {
  readonly dir: string;
  private readonly stage: Stage;
  private readonly spoiled = new Set<string>();

  constructor(dir: string, stage: Stage) {
    this.dir = dir;
    this.stage = stage;
  }

  at(path: string): string {
    return join(this.dir, path);
  }

  read(path: string): Buffer {
    return readFileSync(this.at(path));
  }

  /** Puts other bytes into a file, read-only or not, or makes one. */
  write(path: string, bytes: string | Uint8Array): void {
    const mode = statSync(this.at(path), { throwIfNoEntry: false })?.mode;
    this.remove(path);
    writeFileSync(this.at(path), bytes);
    if (mode !== undefined) chmodSync(this.at(path), mode);
  }

  remove(path: string): void {
    this.spoiled.add(path);
    rmSync(this.at(path), { recursive: true, force: true });
  }

  copy(from: string, to: string): void {
    this.write(to, this.read(from));
  }

  /** Flips one bit; `position` from the end if negative. */
  flip(path: string, position: number): void {
    const bytes = this.read(path);
    const at = position < 0 ? bytes.length + position : position;
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
    this.write(path, bytes);
  }

  cut(path: string, bytes: number): void {
    this.write(path, this.read(path).subarray(0, bytes));
  }

  /** Replaces text in a file that stays what it was otherwise. */
  replace(path: string, what: RegExp | string, by: string): void {
    const text = this.read(path).toString("utf8");
    const spoiled = text.replace(what, by);
    expect(spoiled).not.toBe(text);
    this.write(path, spoiled);
  }

  /** Puts another key into a key file, as somebody would who knows the format: its check holds. */
  rewriteKey<K extends KeyFileKind>(kind: K, path: string, change: (file: KeyFile<K>) => KeyFile<K>): void {
    this.write(path, formatKeyFile(change(parseKeyFile(kind, this.read(path).toString("utf8"), path))));
  }

  /** Takes the fault away: what was spoiled is as it was, all else is as the programs left it. */
  restore(): void {
    for (const path of this.spoiled) {
      rmSync(this.at(path), { recursive: true, force: true });
      const original = join(this.stage.dir, path);
      if (statSync(original, { throwIfNoEntry: false }) === undefined) continue;
      cpSync(original, this.at(path), { recursive: true });
      if (statSync(original).isFile()) chmodSync(this.at(path), statSync(original).mode);
    }
    this.spoiled.clear();
  }

  fingerprint(): ReadonlyMap<string, string> {
    return fingerprint(this.dir);
  }

  /** Finance's word that nothing was lost: the claims of the stage are credited, and every cent is accounted for. */
  async expectNothingLost({ opened = 0 } = {}): Promise<void> {
    const ended = await run(RECONCILE, { cwd: this.dir });
    expect(ended.code, ended.stderr + ended.stdout).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      balanced: true,
      opened: { packets: opened },
      credited: { packets: USERS },
    });
  }
}

export async function post(url: string, path: string, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(new URL(path, url), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return (await response.json()) as Record<string, unknown>;
}

/** @returns the token that was won and opened */
export async function shakeAndOpen(url: string, user: string): Promise<string> {
  const holder = { user, device: "phone" };
  const { token, pass } = await post(url, "/v1/shake", holder);
  const opened = await post(url, "/v1/open", { ...holder, token, pass });
  expect(opened["status"]).toBe("crediting");
  return String(token);
}
