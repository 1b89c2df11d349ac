/**
 * A machine's disk as one life of a program sees it: calls take time, what a call did is known a little later than it
 * is done, and a program that was killed in between has done it and never knows.
 */
import type { Disk, DiskFile } from "../../../core/store/disk.ts";
import type { SeededRandom } from "../random.ts";
import type { Attempt, Fault } from "../simulated-disk/disk-process.ts";
import type { SimulatedDisk } from "../simulated-disk/simulated-disk.ts";
import type { Life } from "./life.ts";

export interface DiskHabits {
  /** Milliseconds that a call takes at most; a sync takes up to ten times as much. */
  slowMsMax: number;
  /** Asked before each call: what goes wrong with it. */
  fault(kind: Attempt["kind"]): Fault | undefined;
}

export function lifeDisk(machine: SimulatedDisk, life: Life, habits: DiskHabits, random: SeededRandom): Disk {
  const disk = machine.process({
    schedule: (operation, complete) => {
      const weight = /^(data)?sync /.test(operation) ? 10 : 1;
      life.scheduler.in(random.below(1 + habits.slowMsMax * weight), complete);
    },
    fault: ({ kind }) => habits.fault(kind),
  });
  life.whenOver(() => disk.kill());
  const known = async <T>(done: Promise<T>): Promise<T> => {
    const result = await done;
    if (random.chance(0.3)) await life.passed(random.below(1 + habits.slowMsMax));
    return result;
  };
  return {
    open: async (path, flags) => lifeFile(await known(disk.open(path, flags)), known),
    link: (path, name) => known(disk.link(path, name)),
    rename: (path, to) => known(disk.rename(path, to)),
    remove: (path) => known(disk.remove(path)),
    makeDirectory: (path) => known(disk.makeDirectory(path)),
    list: (dir) => known(disk.list(dir)),
    stat: (path) => known(disk.stat(path)),
    chmod: (path) => known(disk.chmod(path)),
    removeDirectory: (path) => known(disk.removeDirectory(path)),
    freeBytes: (dir) => known(disk.freeBytes(dir)),
    lock: (path) => known(disk.lock(path)),
  };
}

function lifeFile(file: DiskFile, known: <T>(done: Promise<T>) => Promise<T>): DiskFile {
  return {
    read: (into, at, length, position) => known(file.read(into, at, length, position)),
    write: (from, at, length, position) => known(file.write(from, at, length, position)),
    writeFile: (bytes) => known(file.writeFile(bytes)),
    truncate: (bytes) => known(file.truncate(bytes)),
    sync: () => known(file.sync()),
    datasync: () => known(file.datasync()),
    stat: () => known(file.stat()),
    close: () => known(file.close()),
  };
}
