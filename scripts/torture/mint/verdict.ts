/**
 * What must be true of a mint's files, whatever happened to the machine: none is half there, an epoch that can be
 * accepted is complete, and a resumed run ends with the files that an undisturbed one makes under the same keys.
 */
import { CampaignDir } from "../../../core/store/campaign-dir.ts";
import { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";
import { CAMPAIGN, ROOTS, runMint } from "./mint-run.ts";

type Files = ReadonlyMap<string, Buffer>;

const DIR = new CampaignDir(ROOTS, CAMPAIGN);
const EPOCH = DIR.epoch(1);
/** The run's own: temporary files, the parts of shards, and the lock. */
const UNPUBLISHED = /\.tmp$|\/minting\/|\/mint\.lock$/;

/** Makes the campaign's keys: what an operator may have before the first run. */
export async function keyedDisk(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk({}).copy();
  await runMint(disk);
  return SimulatedDisk.holding(keysOf(disk.files()));
}

/** What undisturbed runs make, by the keys that they found. */
export class Undisturbed {
  private readonly known = new Map<string, Files>();

  /** @returns undefined if a key is missing */
  async under(files: Files): Promise<Files | undefined> {
    const keys = keysOf(files);
    if (keys.length < 2) return undefined;
    const name = keys.map(([, bytes]) => bytes.toString("base64")).join();
    const known = this.known.get(name);
    if (known !== undefined) return known;
    const disk = SimulatedDisk.holding(keys);
    await runMint(disk);
    const made = published(disk.files());
    // Most lives begin with the same keys; the others' are not met again.
    if (this.known.size === 0) this.known.set(name, made);
    return made;
  }
}

/** @returns what is wrong with the files that a crash has left, before anybody has touched them */
export async function judgeFound(disk: SimulatedDisk, undisturbed: Undisturbed): Promise<string[]> {
  const found = published(disk.files());
  const isAcceptable = [EPOCH.manifest, EPOCH.signature("operator")].every((path) => found.has(path));
  const right = await undisturbed.under(found);
  if (right === undefined)
    return isAcceptable ? ["the epoch can be accepted, and a key that it was minted under is lost"] : [];
  const wrong = differing(found, right).map((path) => `${path} is there, and not what the mint makes`);
  const missing = [...right.keys()].filter((path) => !found.has(path));
  if (isAcceptable && missing.length > 0) wrong.push(`the epoch can be accepted without ${missing[0]}`);
  return wrong;
}

/** @returns what is wrong with the files of a run that has ended */
export async function judgeEnded(disk: SimulatedDisk, undisturbed: Undisturbed): Promise<string[]> {
  const made = published(disk.files());
  const right = await undisturbed.under(made);
  if (right === undefined) return ["the run has ended without its keys"];
  const missing = [...right.keys()].filter((path) => !made.has(path));
  const others = [...made.keys()].filter((path) => !right.has(path));
  return [
    ...differing(made, right).map((path) => `${path} is not what an undisturbed run makes`),
    ...missing.map((path) => `the run has ended without ${path}`),
    ...others.map((path) => `the run has left ${path}`),
  ];
}

function published(files: Files): Files {
  return new Map([...files].filter(([path]) => !UNPUBLISHED.test(path)));
}

function keysOf(files: Files): [string, Buffer][] {
  return [DIR.masterKey, DIR.operatorKey].flatMap((path): [string, Buffer][] => {
    const bytes = files.get(path);
    return bytes === undefined ? [] : [[path, bytes]];
  });
}

function differing(some: Files, right: Files): string[] {
  return [...some].flatMap(([path, bytes]) => {
    const expected = right.get(path);
    return expected !== undefined && !bytes.equals(expected) ? [path] : [];
  });
}
