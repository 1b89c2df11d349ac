import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { systemCode } from "../../../core/format/error.ts";
import { type Disk, type DiskFile, machineDisk } from "../../../core/store/disk.ts";
import { seededRandom } from "../../../scripts/torture/random.ts";
import type { Fault } from "../../../scripts/torture/simulated-disk/disk-process.ts";
import { SimulatedDisk } from "../../../scripts/torture/simulated-disk/simulated-disk.ts";

const text = (disk: SimulatedDisk, path: string) => disk.files().get(path)?.toString("latin1");

/** What each of many power losses leaves in a file, as a set; undefined where the file is gone. */
function outcomes(disk: SimulatedDisk, path: string): Set<string | undefined> {
  const random = seededRandom(7);
  const drawn = Array.from({ length: 400 }, () => text(disk.powerLoss(random), path));
  const listed = disk.everyPowerLoss().map((fate) => text(disk.afterPowerLoss(fate), path));
  return new Set([...drawn, ...listed]);
}

async function write(disk: Disk, path: string, content: string): Promise<DiskFile> {
  const file = await disk.open(path, "wx");
  await file.writeFile(content);
  return file;
}

async function syncDirectory(disk: Disk, path: string): Promise<void> {
  const directory = await disk.open(path, "r");
  await directory.sync();
  await directory.close();
}

/** A disk with an empty file at /f, name and all durable. */
async function withFile(): Promise<{ disk: SimulatedDisk; file: DiskFile }> {
  const disk = SimulatedDisk.holding([["/f", Buffer.alloc(0)]]);
  return { disk, file: await disk.open("/f", "r+") };
}

const put = (file: DiskFile, content: string, position: number) =>
  file.write(Buffer.from(content, "latin1"), 0, content.length, position);

describe("simulated disk", () => {
  it("keeps in every power loss what was synced", async () => {
    const { disk, file } = await withFile();
    await put(file, "kept", 0);
    await file.datasync();
    expect(outcomes(disk, "/f")).toEqual(new Set(["kept"]));
  });

  it("loses, keeps, tears and zeroes what was not", async () => {
    const { disk, file } = await withFile();
    await put(file, "kept", 0);
    await file.datasync();
    await put(file, "open", 4);
    const seen = outcomes(disk, "/f");
    for (const left of ["kept", "kepto", "keptop", "keptope", "keptopen", "kept\0\0\0\0", "keptop\0\0"])
      expect(seen).toContain(left);
    expect(seen).toContain("kept\0pen");
    expect([...seen].every((left) => left?.startsWith("kept"))).toBe(true);
  });

  it("puts rubbish where a file grew without its bytes", async () => {
    const { disk, file } = await withFile();
    await put(file, "abcdefgh", 0);
    const whole = /^[\0a-h]{0,8}$/;
    expect([...outcomes(disk, "/f")].some((left) => left !== undefined && !whole.test(left))).toBe(true);
  });

  it("lets a later write arrive without an earlier one, and not over a later one", async () => {
    const { disk, file } = await withFile();
    await put(file, "aaaa", 0);
    await put(file, "bbbb", 4);
    expect(outcomes(disk, "/f")).toContain("\0\0\0\0bbbb");
    await put(file, "cccc", 0);
    await file.sync();
    expect(outcomes(disk, "/f")).toEqual(new Set(["ccccbbbb"]));
  });

  it("loses single sectors of a write", async () => {
    const { disk, file } = await withFile();
    await put(file, "s".repeat(1200), 100);
    const lostMiddle = `${"\0".repeat(100)}${"s".repeat(412)}${"\0".repeat(512)}${"s".repeat(276)}`;
    expect(outcomes(disk, "/f")).toContain(lostMiddle);
  });

  it("covers by a sync only what was written before it began", async () => {
    const waiting: (() => void)[] = [];
    const { disk } = await withFile();
    const slow = disk.process({
      schedule: (operation, complete) =>
        operation.startsWith("datasync") ? waiting.push(complete) : complete(),
    });
    const file = await slow.open("/f", "r+");
    await put(file, "before", 0);
    const synced = file.datasync();
    await put(file, "during", 6);
    for (const complete of waiting) complete();
    await synced;
    const seen = outcomes(slow, "/f");
    expect(seen).toContain("before");
    expect([...seen].every((left) => left?.startsWith("before"))).toBe(true);
  });

  it("knows a new file by name for sure only after a sync of its directory", async () => {
    const disk = new SimulatedDisk();
    const file = await write(disk, "/new", "content");
    await file.sync();
    expect(outcomes(disk, "/new")).toEqual(new Set([undefined, "content"]));
    await syncDirectory(disk, "/");
    expect(outcomes(disk, "/new")).toEqual(new Set(["content"]));
  });

  it("may keep a rename and lose what was written before it", async () => {
    const disk = SimulatedDisk.holding([["/f", Buffer.from("old")]]);
    await write(disk, "/f.tmp", "new");
    await disk.rename("/f.tmp", "/f");
    await syncDirectory(disk, "/");
    const seen = outcomes(disk, "/f");
    expect(seen).toContain("new");
    expect(seen).toContain("");
    expect(seen).not.toContain("old");
  });

  it("replaces by rename in one step", async () => {
    const disk = SimulatedDisk.holding([["/f", Buffer.from("old")]]);
    const file = await write(disk, "/f.tmp", "new");
    await file.sync();
    await disk.rename("/f.tmp", "/f");
    expect(outcomes(disk, "/f")).toEqual(new Set(["old", "new"]));
  });

  it("loses with a directory's name all that is below it", async () => {
    const disk = new SimulatedDisk();
    await disk.makeDirectory("/d");
    const file = await write(disk, "/d/f", "content");
    await file.sync();
    await syncDirectory(disk, "/d");
    expect(outcomes(disk, "/d/f")).toEqual(new Set([undefined, "content"]));
    await syncDirectory(disk, "/");
    expect(outcomes(disk, "/d/f")).toEqual(new Set(["content"]));
  });

  it("goes back to any moment of its log", async () => {
    const { disk, file } = await withFile();
    const moments = [disk.moment];
    for (const content of ["one", "two", "three"]) {
      await put(file, content, 0);
      await file.datasync();
      moments.push(disk.moment);
    }
    const random = seededRandom(1);
    const back = moments.map((moment) => text(disk.powerLoss(random, moment), "/f"));
    expect(back).toEqual(["", "one", "two", "three"]);
    expect(text(disk.powerLoss(random, moments[1]), "/f")).toBe("one");
  });

  it("goes on after a power loss as a disk of its own", async () => {
    const { disk, file } = await withFile();
    await put(file, "kept", 0);
    await file.sync();
    const after = disk.powerLoss(seededRandom(1));
    const again = await after.open("/f", "r+");
    await put(again, "else", 0);
    expect([text(disk, "/f"), text(after, "/f")]).toEqual(["kept", "else"]);
    expect(outcomes(after, "/f")).toContain("kept");
  });

  it("forgets after a failed sync what it covered: the next one succeeds and writes nothing", async () => {
    const faults: Fault[] = [];
    const { disk } = await withFile();
    const faulty = disk.process({
      fault: ({ kind }) => (kind === "datasync" ? faults.pop() : undefined),
    });
    const file = await faulty.open("/f", "r+");
    await put(file, "lost", 0);
    faults.push({ code: "EIO", done: "nothing" });
    await expect(file.datasync()).rejects.toMatchObject({ code: "EIO" });
    await file.datasync();
    expect(text(faulty, "/f")).toBe("lost");
    expect(outcomes(faulty, "/f")).toContain("");
    expect(faulty.syncedAgain).toEqual(["/f"]);
    await put(file, "lost", 0);
    await file.datasync();
    expect(outcomes(faulty, "/f")).toEqual(new Set(["lost"]));
  });

  it("fails and is done, by half or not, as asked", async () => {
    const faults: Fault[] = [];
    const { disk } = await withFile();
    const faulty = disk.process({ fault: ({ kind }) => (kind === "write" ? faults.pop() : undefined) });
    const file = await faulty.open("/f", "r+");
    faults.push({ code: "ENOSPC", done: "nothing" });
    await expect(put(file, "abcd", 0)).rejects.toMatchObject({ code: "ENOSPC" });
    expect(text(faulty, "/f")).toBe("");
    faults.push({ done: "half" });
    expect(await put(file, "abcd", 0)).toEqual({ bytesWritten: 2 });
    expect(text(faulty, "/f")).toBe("ab");
    faults.push({ code: "EIO", done: "everything" });
    await expect(put(file, "efgh", 0)).rejects.toMatchObject({ code: "EIO" });
    expect(text(faulty, "/f")).toBe("efgh");
  });

  it("frees the locks of a killed process and does nothing more for it", async () => {
    const disk = new SimulatedDisk();
    const first = disk.process();
    expect(await first.lock("/lock")).toBeTypeOf("function");
    expect(await disk.lock("/lock")).toBeUndefined();
    const underWay = first.open("/late", "wx");
    first.kill();
    const late = await Promise.race([underWay, disk.list("/").then((names) => names)]);
    expect(late).toEqual(["lock"]);
    const release = await disk.lock("/lock");
    release?.();
    expect(await disk.lock("/lock")).toBeTypeOf("function");
  });
});

/** What both disks are asked to do, on a few names below one directory. */
const NAMES = ["a", "b", "d", "d/a", "d/b", "a/b"];
const name = fc.constantFrom(...NAMES);
const content = fc.uint8Array({ maxLength: 700 });
const step = fc.oneof(
  fc.record({ do: fc.constant("open" as const), name, flags: fc.constantFrom("r", "r+", "wx") }),
  fc.record({ do: fc.constant("write" as const), file: fc.nat(3), content, position: fc.nat(1500) }),
  fc.record({ do: fc.constant("writeFile" as const), file: fc.nat(3), content }),
  fc.record({ do: fc.constant("read" as const), file: fc.nat(3), position: fc.option(fc.nat(1500)) }),
  fc.record({ do: fc.constant("truncate" as const), file: fc.nat(3), bytes: fc.nat(1500) }),
  fc.record({
    do: fc.constantFrom("sync" as const, "datasync" as const, "size" as const, "close" as const),
    file: fc.nat(3),
  }),
  fc.record({ do: fc.constantFrom("link" as const, "rename" as const), name, to: name }),
  fc.record({
    do: fc.constantFrom("remove" as const, "makeDirectory" as const, "list" as const, "stat" as const),
    name,
  }),
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** @returns what a caller sees of a step: its answer, or the code of its error. */
async function see(disk: Disk, root: string, files: (DiskFile | undefined)[], one: Step): Promise<unknown> {
  try {
    return await take(disk, root, files, one);
  } catch (error) {
    return systemCode(error) ?? String(error);
  }
}

/** Every operation of a disk and its files, and what it gives back where that is the same on every disk. */
async function take(disk: Disk, root: string, files: (DiskFile | undefined)[], one: Step): Promise<unknown> {
  const at = (path: string) => join(root, path);
  if (one.do === "open") {
    files.unshift(undefined);
    files[0] = await disk.open(at(one.name), one.flags as "r");
    return "opened";
  }
  if (one.do === "link") return await disk.link(at(one.name), at(one.to));
  if (one.do === "rename") return await disk.rename(at(one.name), at(one.to));
  if (one.do === "remove" || one.do === "makeDirectory") return await disk[one.do](at(one.name), 0o755);
  if (one.do === "list") return (await disk.list(at(one.name))).sort();
  if (one.do === "stat") {
    const found = await disk.stat(at(one.name));
    return found.isDirectory() ? "directory" : found.size;
  }
  if (!("file" in one)) return undefined;
  const file = files[one.file];
  if (file === undefined) return "no file";
  if (one.do === "write")
    return (await file.write(one.content, 0, one.content.length, one.position)).bytesWritten;
  if (one.do === "writeFile") return await file.writeFile(one.content);
  if (one.do === "truncate") return await file.truncate(one.bytes);
  if (one.do === "read") {
    const into = Buffer.alloc(400);
    const { bytesRead } = await file.read(into, 0, into.length, one.position);
    return into.toString("hex", 0, bytesRead);
  }
  if (one.do === "size") {
    // A directory has a size that is its file system's own affair; reading it fails.
    await file.read(Buffer.alloc(1), 0, 1, 0);
    return (await file.stat()).size;
  }
  return await file[one.do]();
}

describe("simulated disk, beside the machine's", () => {
  it("answers every sequence of operations alike", { timeout: 120_000 }, async () => {
    const dir = mkdtempSync(join(tmpdir(), "disk-"));
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const root = join(dir, `${runs++}`);
        await machineDisk.makeDirectory(root, 0o755);
        const simulated = new SimulatedDisk();
        await simulated.makeDirectory("/root");
        const [ours, theirs]: (DiskFile | undefined)[][] = [[], []];
        for (const one of steps) {
          const expected = await see(machineDisk, root, theirs ?? [], one);
          expect([one, await see(simulated, "/root", ours ?? [], one)]).toEqual([one, expected]);
        }
        for (const file of theirs ?? []) await file?.close();
      }),
      { numRuns: 300 },
    );
    rmSync(dir, { recursive: true });
  });
});
