/**
 * The few ways in which this house writes a file that must be whole or absent, each alone: every crash of it, and
 * every crash after a process that was killed on the way was followed by another that does the same.
 */
import { HongbaoError } from "../../../core/format/error.ts";
import { makeDirectory, publish, replace } from "../../../core/store/durable.ts";
import { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";

const PATH = "/srv/data/gala/e1/file";
const OLD = "what was there before";
const NEW = "what is put there now";

interface Way {
  readonly name: string;
  readonly before: readonly (readonly [string, string])[];
  /** @returns whether it was done: a publisher finds what one before it has published, and promises nothing of it */
  readonly write: (disk: SimulatedDisk) => Promise<boolean>;
  /** What may be found after a crash on the way; undefined: nothing. After it returned only the first. */
  readonly found: readonly (string | undefined)[];
  readonly look: (disk: SimulatedDisk) => Promise<string | undefined> | string | undefined;
}

const done = () => true;
const read = (disk: SimulatedDisk) => disk.files().get(PATH)?.toString();

const WAYS: readonly Way[] = [
  {
    name: "publish",
    before: [],
    write: (disk) => publish(PATH, NEW, 0o444, disk).then(done, isThere),
    found: [NEW, undefined],
    look: read,
  },
  {
    name: "replace",
    before: [[PATH, OLD]],
    write: (disk) => replace(PATH, NEW, 0o644, disk).then(done),
    found: [NEW, OLD],
    look: read,
  },
  {
    name: "makeDirectory",
    before: [["/srv/file", OLD]],
    write: (disk) => makeDirectory(PATH, 0o755, disk).then(done),
    found: ["directory", undefined],
    look: async (disk) => (await disk.stat(PATH).catch(() => undefined)) && "directory",
  },
];

/** @returns crash states looked at */
export async function crashFiles(broken: (what: string) => void): Promise<number> {
  let states = 0;
  for (const way of WAYS) {
    const operations = (await written(way, Number.POSITIVE_INFINITY)).operations;
    for (let killedAfter = 0; killedAfter <= operations; killedAfter++) {
      const killed = await written(way, killedAfter);
      const again = killed.process();
      const isDone = await way.write(again);
      states += await lookAtAll(way, again, isDone, broken);
    }
  }
  return states;
}

/** The disk after a process that did it was killed behind so many operations. */
async function written(way: Way, operations: number): Promise<SimulatedDisk> {
  const before = way.before.map(([path, text]) => [path, Buffer.from(text)] as const);
  let left = operations;
  const disk = SimulatedDisk.holding(before).copy({
    schedule: (_, complete) => {
      if (left-- > 0) queueMicrotask(complete);
      else setImmediate(stopped);
    },
  });
  let stopped = () => {};
  const killed = new Promise<void>((resolve) => {
    stopped = resolve;
  });
  await Promise.race([way.write(disk), killed]);
  disk.kill();
  return disk;
}

/** Whatever an earlier process left on the way, every crash leaves one of the two, and after the end only the new. */
async function lookAtAll(
  way: Way,
  disk: SimulatedDisk,
  isDone: boolean,
  broken: (what: string) => void,
): Promise<number> {
  let states = 0;
  for (let moment = 0; moment <= disk.moment; moment++)
    for (const fate of disk.everyPowerLoss(moment)) {
      states++;
      const found = await way.look(disk.afterPowerLoss(fate, moment));
      if (!way.found.includes(found)) broken(`${way.name} left ${JSON.stringify(found)}`);
      if (isDone && moment === disk.moment && found !== way.found[0])
        broken(`${way.name} returned, and a power loss left ${JSON.stringify(found)}`);
    }
  return states;
}

function isThere(error: unknown): false {
  if (error instanceof HongbaoError && error.code === "already_exists") return false;
  throw error;
}
