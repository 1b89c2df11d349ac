/**
 * Finds every shard's journal. A directory is a journal because segments lie in it; whose it is, its header
 * says, never its name: finance may have copied the nodes' directories anywhere.
 *
 * A shard has one journal. Which one, the ledger's pin says, before it the owner record. If another one turns up,
 * two nodes may have handed out the same packets, and that is a finding. Copies of one journal are no fault: the
 * longest is read.
 */
import type { Dirent } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { HongbaoError, systemCode } from "../../core/format/error.ts";
import type { Manifest } from "../../core/format/manifest.ts";
import { parseOwnerRecord } from "../../core/format/owner-record.ts";
import type { EpochDir } from "../../core/store/campaign-dir.ts";
import { fileProblem } from "../../core/store/durable.ts";
import {
  type JournalIdentity,
  openJournalReader,
  segmentCount,
  segmentPath,
} from "../../core/store/journal-reader.ts";
import type { Findings } from "./findings.ts";

/** A given directory, its children and theirs are searched. */
const DEPTH_MAX = 3;
const SEGMENT = /^segment-\d{8}\.log$/;

export interface FoundJournal {
  readonly dir: string;
  readonly identity: JournalIdentity;
  /** 16 bytes, hex */
  readonly id: string;
}

/** What is known about a shard's journal before any is read, hex. */
export interface Expected {
  readonly pinned: string | undefined;
  readonly owner: "none" | "unreadable" | { readonly journalId: string };
}

/**
 * @param dirs directories that must exist; undefined = the nodes' own, which may not
 * @returns the journals of this campaign and epoch by shard; those with a damaged header are findings
 * @throws HongbaoError `missing_file`, `unreadable_file`
 */
export async function findJournals(
  dirs: readonly string[] | undefined,
  epoch: EpochDir,
  of: { readonly campaignTag: number; readonly shards: number },
  findings: Findings,
): Promise<ReadonlyMap<number, readonly FoundJournal[]>> {
  const found = new Map<number, FoundJournal[]>();
  const searched = dirs ?? Array.from({ length: of.shards }, (_, shard) => epoch.node(shard));
  const places = new Set<string>();
  for (const dir of searched)
    for (const place of await journalsBelow(dir, DEPTH_MAX, dirs !== undefined)) places.add(place);
  for (const dir of [...places].sort()) {
    const identity = await identify(dir, findings);
    if (identity?.campaignTag !== of.campaignTag || identity.epoch !== epoch.epoch) continue;
    const journal = { dir, identity, id: identity.journalId.toString("hex") };
    found.set(identity.shard, [...(found.get(identity.shard) ?? []), journal]);
  }
  return found;
}

/** @returns the one journal to read, or undefined; says what is missing or one too many. */
export async function chooseJournal(
  shard: number,
  found: readonly FoundJournal[],
  expected: Expected,
  findings: Findings,
): Promise<{ journal: FoundJournal | undefined; isExpected: boolean }> {
  const { pinned, owner } = expected;
  const owned = typeof owner === "object" ? owner.journalId : undefined;
  const wanted = pinned ?? owned;
  const say = (name: "corrupt" | "missing-journal", detail: string) =>
    findings.add(name, undefined, `shard ${shard}: ${detail}`);
  if (owner === "unreadable") say("corrupt", "the owner record beside the seed file is damaged");
  if (pinned !== undefined && owned !== undefined && pinned !== owned)
    say("corrupt", `the ledger pins journal ${pinned}, the owner record names ${owned}`);
  const ids = new Set(found.map(({ id }) => id));
  if (found.length === 0) {
    const started = wanted !== undefined || owner !== "none";
    if (started)
      say(
        "missing-journal",
        `it was started${wanted ? ` on journal ${wanted}` : ""}, and no journal of it was found`,
      );
    return { journal: undefined, isExpected: !started };
  }
  if (wanted !== undefined && !ids.has(wanted)) {
    say("missing-journal", `journal ${wanted} was not found, only ${[...ids].sort().join(" and ")}`);
    return { journal: await longest(found), isExpected: false };
  }
  if (ids.size > 1)
    say(
      "corrupt",
      `it has ${ids.size} journals (${[...ids].sort().join(" and ")}): two nodes may have served it`,
    );
  const own = found.filter(({ id }) => wanted === undefined || id === wanted);
  return { journal: await longest(own), isExpected: true };
}

/** @returns what the records beside the seed files say about the shards' journals, by shard. */
export async function readOwners(epoch: EpochDir, manifest: Manifest): Promise<Expected["owner"][]> {
  const owners: Expected["owner"][] = [];
  for (const { shard } of manifest.shards) owners.push(await readOwner(epoch.owner(shard)));
  return owners;
}

async function readOwner(path: string): Promise<Expected["owner"]> {
  try {
    return parseOwnerRecord(await readFile(path, "utf8")) ?? "unreadable";
  } catch (error) {
    if (systemCode(error) === "ENOENT") return "none";
    throw fileProblem(error, path, "the owner record");
  }
}

async function journalsBelow(dir: string, depth: number, mustExist: boolean): Promise<string[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(dir, { withFileTypes: true });
  } catch (cause) {
    const absent = systemCode(cause) === "ENOENT" || systemCode(cause) === "ENOTDIR";
    if (absent && !mustExist) return [];
    throw fileProblem(cause, dir, "the directory of journals");
  }
  if (entries.some(({ name }) => SEGMENT.test(name))) return [dir];
  if (depth === 0) return [];
  const below = entries.filter((entry) => entry.isDirectory() || entry.isSymbolicLink());
  const found = [];
  for (const { name } of below) found.push(...(await journalsBelow(join(dir, name), depth - 1, false)));
  return found;
}

async function identify(dir: string, findings: Findings): Promise<JournalIdentity | undefined> {
  try {
    return (await openJournalReader(dir)).identity;
  } catch (error) {
    if (!(error instanceof HongbaoError) || error.code !== "corrupt_journal") throw error;
    findings.add("corrupt", undefined, error.message);
    return undefined;
  }
}

async function longest(copies: readonly FoundJournal[]): Promise<FoundJournal | undefined> {
  let best: { journal: FoundJournal; bytes: number } | undefined;
  for (const journal of copies) {
    let bytes = 0;
    for (let segment = (await segmentCount(journal.dir)) - 1; segment >= 0; segment--)
      bytes += (await stat(segmentPath(journal.dir, segment))).size;
    if (best === undefined || bytes > best.bytes) best = { journal, bytes };
  }
  return best?.journal;
}
