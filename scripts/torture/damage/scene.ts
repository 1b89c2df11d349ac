/**
 * A small show that was played to its end, as files: mints, keys, a node's directory with a journal that has seen a
 * crash, a burn and a clean stop, and the ledger. Any of them can be spoiled, and is put back afterwards.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { signShow } from "../../../core/format/signature.ts";
import { readKeyFile } from "../../../core/store/keystore.ts";
import { MintsDir } from "../forgery/mints.ts";
import { type QuietNode, serveQuietly } from "../forgery/quiet-node.ts";
import { Settlement } from "../forgery/settlement.ts";
import type { Minted } from "../stage/minted.ts";
import { until } from "../stage/until.ts";

const WINNERS = 8;
const OPENED = 5;
const DELIVERY_MS_MAX = 30_000;
/** Lanes of more than one block, to exchange blocks of one size. */
const TWO_BLOCKS = { campaign: "blocks", packets: 4_200, shards: 1, budgetCents: 840_000 };

export interface Prize {
  readonly user: string;
  readonly device: string;
  readonly token: string;
  readonly pass: string;
  readonly cents: number;
}

export class Scene {
  readonly minted: Minted;
  /** The same terms under another name, and another epoch's: files to be exchanged. */
  readonly other: Minted;
  readonly blocks: Minted;
  /** What was opened, and the cents that were shown. */
  readonly prizes: readonly Prize[];
  /** The ledger as it lies on the disk while a worker has it open: the last credits stand in its log. */
  readonly liveLedger: string;
  private readonly mints: MintsDir;
  private readonly originals: ReadonlyMap<string, Buffer>;
  /** What the programs write when they open the scene, or may leave there. */
  private readonly volatile: readonly string[];
  /** Change time of each file that was put back, in nanoseconds. */
  private readonly putBackAt = new Map<string, bigint>();
  private spoiled: { readonly path: string; readonly bytes: Uint8Array } | undefined;

  private constructor(
    mints: MintsDir,
    made: { minted: Minted; other: Minted; blocks: Minted; liveLedger: string },
    prizes: readonly Prize[],
  ) {
    this.mints = mints;
    this.minted = made.minted;
    this.other = made.other;
    this.blocks = made.blocks;
    this.liveLedger = made.liveLedger;
    this.prizes = prizes;
    this.originals = new Map(filesBelow(mints.dir).map((path) => [path, readFileSync(path)]));
    const ledgers = [made.minted.epochDir.of.ledger, made.liveLedger];
    const leftovers = ledgers.flatMap((path) => [path, `${path}-wal`, `${path}-shm`]);
    const written = [...this.originals.keys()].filter((path) => /segment-|\.owner$|show\.json$/.test(path));
    this.volatile = [...written, ...leftovers];
  }

  static async play(): Promise<Scene> {
    const mints = new MintsDir();
    try {
      const terms = { packets: 240, budgetCents: 48_000, quota: { perUser: 9, perAd: 9 } };
      const minted = await mints.mint(terms);
      const other = await mints.mint({ ...terms, campaign: "other" });
      const blocks = await mints.mint(TWO_BLOCKS);
      const liveLedger = join(mints.dir, "live", "ledger.db");
      await playOne(other, join(mints.dir, "live-other", "ledger.db"));
      const prizes = await playOne(minted, liveLedger);
      return new Scene(mints, { minted, other, blocks, liveLedger }, prizes);
    } catch (error) {
      mints.remove();
      throw error;
    }
  }

  original(path: string): Buffer {
    const bytes = this.originals.get(path);
    if (bytes === undefined) throw new Error(`the scene has no ${relative(this.mints.dir, path)}`);
    return bytes;
  }

  spoil(path: string, bytes: Uint8Array): void {
    this.spoiled = { path, bytes };
    // Two writes within one tick of the clock may bear the same time.
    this.putBackAt.delete(path);
    rmSync(path, { force: true });
    writeFileSync(path, bytes);
  }

  /** Takes the damage away, and whatever the programs wrote since. */
  restore(): void {
    if (this.spoiled) this.putBack(this.spoiled.path);
    this.spoiled = undefined;
    for (const path of this.volatile) this.putBack(path);
  }

  /** As it was when it was spoiled: what the programs wrote since is gone. */
  restoreBesideDamage(): void {
    const { spoiled } = this;
    this.restore();
    if (spoiled) this.spoil(spoiled.path, spoiled.bytes);
  }

  remove(): void {
    this.mints.remove();
  }

  /** Writes only what is not there as it was put there. */
  private putBack(path: string): void {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    const original = this.originals.get(path);
    if (found === undefined && original === undefined) return;
    if (found !== undefined && found.ctimeNs === this.putBackAt.get(path)) return;
    rmSync(path, { force: true });
    if (original === undefined) return;
    writeFileSync(path, original, { mode: 0o600 });
    this.putBackAt.set(path, statSync(path, { bigint: true }).ctimeNs);
  }
}

/** Two starts with a crash between them; everything that was opened is delivered. */
async function playOne(minted: Minted, liveLedger: string): Promise<Prize[]> {
  const settlement = await Settlement.of(minted);
  const first = await serveQuietly(minted);
  const prizes = await playRound(first, settlement, 0);
  await first.forwarder.stop();
  await first.crash();
  const second = await serveQuietly(minted);
  await pushShow(second, minted);
  prizes.push(...(await playRound(second, settlement, WINNERS)));
  await second.stop();
  copyLedger(minted.epochDir.of.ledger, liveLedger);
  settlement.close();
  const next = await serveQuietly(minted, 1);
  await playRound(next, undefined, 2 * WINNERS);
  await next.stop();
  return prizes;
}

async function playRound(
  node: QuietNode,
  settlement: Settlement | undefined,
  from: number,
): Promise<Prize[]> {
  const won = [];
  for (let i = from; i < from + WINNERS; i++) {
    const holder = { user: `user-${i}`, device: "phone" };
    const keyed = i % 2 === 0 ? { "idempotency-key": `key-${i}` } : {};
    const { body } = await node.post("/v1/shake", holder, keyed);
    won.push({ ...holder, token: String(body["token"]), pass: String(body["pass"]) });
  }
  const prizes: Prize[] = [];
  for (const prize of won.slice(0, OPENED)) {
    const { body } = await node.post("/v1/open", prize);
    prizes.push({ ...prize, cents: Number(body["cents"]) });
  }
  if (settlement !== undefined) {
    const { forwarder } = node;
    forwarder.start(settlement.transport((ack) => forwarder.acknowledge(ack)));
    await until(() => forwarder.lagBytes === 0, DELIVERY_MS_MAX);
  }
  return prizes;
}

async function pushShow(node: QuietNode, { campaign, epochDir }: Minted): Promise<void> {
  const rounds = [
    {
      id: "r1",
      opensAt: "2027-01-01T00:00:00Z",
      closesAt: "2028-01-01T00:00:00Z",
      ads: [1, 2],
      hitProbability: 1,
    },
  ];
  const show = JSON.stringify({ campaign, version: 1, stop: false, rounds });
  const sig = signShow(await readKeyFile("signing", epochDir.of.operatorKey), show);
  await node.shard.programme.accept({ show, signatures: [{ role: "operator", sig }] });
}

function copyLedger(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  for (const suffix of ["", "-wal"])
    if (existsSync(`${from}${suffix}`)) copyFileSync(`${from}${suffix}`, `${to}${suffix}`);
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return filesBelow(path);
    if (!entry.isFile()) return [];
    chmodSync(path, 0o600);
    return [path];
  });
}
