/**
 * Which files are damaged in which ways, and who reads them then.
 */

import { FRAME_HEAD_BYTES, SEGMENT_HEADER_BYTES } from "../../../core/format/frame.ts";
import { BLOCK_BYTES, seedLayout } from "../../../core/format/seedfile.ts";
import { TOKEN_BYTES } from "../../../core/format/token.ts";
import { openJournalReader, segmentPath } from "../../../core/store/journal-reader.ts";
import { readManifest } from "../../../core/store/manifest-file.ts";
import type { Minted } from "../stage/minted.ts";
import {
  all,
  bitFlips,
  type Damages,
  extensions,
  type Part,
  rearrangements,
  replacements,
  truncations,
} from "./damages.ts";
import type { Bench, Judge } from "./judges.ts";

export interface Target {
  readonly name: string;
  readonly path: string;
  readonly damages: Damages;
  readonly judges: readonly Judge[];
  /** Asked for one damage in four: what they say of the others follows from the same reader. */
  readonly sometimes?: readonly Judge[];
  /** Of all damages of a short run. */
  readonly share: number;
}

export async function targetsOf(bench: Bench): Promise<Target[]> {
  return [
    ...mintTargets(bench),
    await seedTarget(bench),
    await blocksTarget(bench),
    ...keyTargets(bench),
    ...nodeTargets(bench),
    await journalTarget(bench),
    ...ledgerTargets(bench),
  ];
}

function mintTargets(bench: Bench): Target[] {
  const { epochDir } = bench.scene.minted;
  const other = bench.scene.other.epochDir;
  const manifestNames = ["manifest.json", "manifest.operator.sig", "manifest"];
  const [manifest, signature] = [epochDir.manifest, epochDir.signature("operator")];
  return [
    {
      name: "manifest.json",
      path: manifest,
      damages: every(bench, manifest, [other.manifest, epochDir.seed(0)]),
      judges: [bench.node(manifestNames), bench.worker(manifestNames), bench.finance(manifestNames)],
      share: 0.12,
    },
    {
      name: "manifest.operator.sig",
      path: signature,
      damages: every(bench, signature, [other.signature("operator"), manifest]),
      judges: [bench.node(["manifest.operator.sig"]), bench.finance(["manifest.operator.sig"])],
      share: 0.06,
    },
  ];
}

async function seedTarget(bench: Bench): Promise<Target> {
  const { minted, other } = bench.scene;
  const path = minted.epochDir.seed(0);
  const records = await recordsOf(minted);
  return {
    name: "shard-0000.seed",
    path,
    damages: all(
      every(bench, path, [minted.epochDir.seed(1), other.epochDir.seed(0)]),
      rearrangements(bench.scene.original(path), records, "record"),
    ),
    judges: [bench.verifier(["shard-0000.seed"])],
    share: 0.2,
  };
}

/** Whole blocks of one lane, exchanged: each of them is whole in itself. */
async function blocksTarget(bench: Bench): Promise<Target> {
  const path = bench.scene.blocks.epochDir.seed(0);
  const { manifest } = await readManifest(bench.scene.blocks.epochDir);
  const layout = seedLayout(manifest.shards[0]?.lanes ?? []);
  const blocks = layout.lanes.flatMap(({ recordsAt, packets }) =>
    Array.from({ length: Math.floor((packets * TOKEN_BYTES) / BLOCK_BYTES) }, (_, i) => ({
      at: recordsAt + i * BLOCK_BYTES,
      length: BLOCK_BYTES,
    })),
  );
  const hashes = Array.from({ length: layout.blocks }, (_, i) => ({
    at: layout.hashesAt + i * 32,
    length: 32,
  }));
  const original = bench.scene.original(path);
  return {
    name: "blocks",
    path,
    damages: all(rearrangements(original, blocks, "block"), rearrangements(original, hashes, "hash")),
    judges: [bench.blocks(["shard-0000.seed"])],
    share: 0.01,
  };
}

function keyTargets(bench: Bench): Target[] {
  const { epochDir } = bench.scene.minted;
  const other = bench.scene.other.epochDir;
  const [node, settlement, master] = [epochDir.nodeKey(0), epochDir.settlementKey, epochDir.of.masterKey];
  return [
    {
      name: "node-0000.key",
      path: node,
      damages: every(bench, node, [epochDir.nodeKey(1), other.nodeKey(0), settlement]),
      judges: [bench.node(["node-0000.key"])],
      share: 0.08,
    },
    {
      name: "settlement.key",
      path: settlement,
      damages: every(bench, settlement, [other.settlementKey, node]),
      judges: [bench.worker(["settlement.key"]), bench.finance(["settlement.key"])],
      share: 0.08,
    },
    {
      name: "master.key",
      path: master,
      damages: every(bench, master, [other.of.masterKey, epochDir.of.operatorKey]),
      judges: [bench.finance(["master.key"], undefined, true)],
      share: 0.02,
    },
  ];
}

function nodeTargets(bench: Bench): Target[] {
  const { epochDir } = bench.scene.minted;
  const other = bench.scene.other.epochDir;
  const [owner, show] = [epochDir.owner(0), `${epochDir.node(0)}/show.json`];
  return [
    {
      name: "shard-0000.owner",
      path: owner,
      damages: every(bench, owner, [epochDir.owner(1), other.owner(0)]),
      judges: [bench.node(["shard-0000.owner"]), bench.finance(["owner record"])],
      share: 0.06,
    },
    {
      name: "show.json",
      path: show,
      damages: every(bench, show, [`${other.node(0)}/show.json`, owner]),
      judges: [bench.node(["show.json"])],
      share: 0.06,
    },
  ];
}

async function journalTarget(bench: Bench): Promise<Target> {
  const { epochDir } = bench.scene.minted;
  const other = bench.scene.other.epochDir;
  const path = segmentPath(epochDir.node(0), 0);
  const frames: Part[] = [];
  const reader = await openJournalReader(epochDir.node(0));
  for await (const { offset, end } of reader.entries())
    frames.push({ at: SEGMENT_HEADER_BYTES + offset, length: end - offset });
  await reader.close();
  const bodies = frames.map(({ at, length }) => ({
    at: at + FRAME_HEAD_BYTES,
    length: length - FRAME_HEAD_BYTES,
  }));
  const original = bench.scene.original(path);
  const names = ["segment-00000000.log", `${epochDir.node(0)}`];
  return {
    name: "journal",
    path,
    damages: all(
      every(bench, path, [segmentPath(epochDir.node(1), 0), segmentPath(other.node(0), 0)]),
      rearrangements(original, frames, "frame"),
      rearrangements(original, bodies, "body of a frame"),
    ),
    judges: [bench.journal(names)],
    sometimes: [bench.finance(names)],
    share: 0.21,
  };
}

function ledgerTargets(bench: Bench): Target[] {
  const { minted, liveLedger } = bench.scene;
  const own = minted.epochDir.of.ledger;
  const log = `${liveLedger}-wal`;
  const names = ["ledger"];
  return [
    {
      name: "ledger.db",
      path: own,
      damages: every(bench, own, [bench.scene.other.epochDir.of.ledger]),
      judges: [bench.finance(names), bench.worker(names)],
      share: 0.03,
    },
    {
      name: "ledger.db-wal",
      path: log,
      damages: all(bitFlips(bench.scene.original(log)), truncations(bench.scene.original(log))),
      judges: [bench.finance(names, liveLedger)],
      share: 0.02,
    },
  ];
}

function every(bench: Bench, path: string, others: readonly string[]): Damages {
  const original = bench.scene.original(path);
  const from = others.map((other) => ({ what: `replaced by ${other}`, bytes: bench.scene.original(other) }));
  return all(bitFlips(original), truncations(original), extensions(original), replacements(from));
}

async function recordsOf({ epochDir }: Minted): Promise<Part[]> {
  const { manifest } = await readManifest(epochDir);
  const { lanes } = seedLayout(manifest.shards[0]?.lanes ?? []);
  return lanes.flatMap(({ recordsAt, packets }) =>
    Array.from({ length: packets }, (_, i) => ({ at: recordsAt + i * TOKEN_BYTES, length: TOKEN_BYTES })),
  );
}
