import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Disk, machineDisk } from "../../../core/store/disk.ts";
import {
  exists,
  makeDirectory,
  publish,
  readSmallFile,
  replace,
  SECRET_MODE,
} from "../../../core/store/durable.ts";
import { SimulatedDisk } from "../../../scripts/torture/simulated-disk/simulated-disk.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "durable-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const failure = (code: string) => Object.assign(new Error(`${code}: so says the disk`), { code });
const failing = (code: string) => async () => {
  throw failure(code);
};
const text = (path: string) => readFileSync(path, "utf8");

/** A disk on which new files can be made but not synced. */
const unsynced: Disk = {
  ...machineDisk,
  open: async (path, flags, mode) => {
    const file = await machineDisk.open(path, flags, mode);
    if (flags === "wx") file.sync = failing("EIO");
    return file;
  },
};

describe("publish", () => {
  it("makes the file, its directories and its mode, and leaves nothing beside it", async () => {
    const path = join(dir, "a/b/settlement.key");
    await publish(path, "secret", SECRET_MODE);
    expect(text(path)).toBe("secret");
    expect(lstatSync(path).mode & 0o777).toBe(0o400);
    expect(lstatSync(join(dir, "a")).mode & 0o007).toBe(0);
    expect(readdirSync(join(dir, "a/b"))).toEqual(["settlement.key"]);
  });

  it("never overwrites: what is there stays, and nothing is left beside it", async () => {
    const path = join(dir, "manifest.json");
    await publish(path, "first");
    await expect(publish(path, "second")).rejects.toMatchObject({
      code: "already_exists",
      message: `${path} exists; nothing is ever overwritten`,
    });
    expect(text(path)).toBe("first");
    expect(readdirSync(dir)).toEqual(["manifest.json"]);
  });

  it("that cannot name its file says why, and leaves no half of a key behind", async () => {
    const disk = { ...machineDisk, link: failing("EIO") };
    await expect(publish(join(dir, "k"), "secret", SECRET_MODE, disk)).rejects.toMatchObject({ code: "EIO" });
    await expect(publish(join(dir, "k"), "secret", SECRET_MODE, unsynced)).rejects.toMatchObject({
      code: "EIO",
    });
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe("replace", () => {
  it("puts the new file in the old one's place", async () => {
    const path = join(dir, "show.json");
    await replace(path, "1");
    await replace(path, "2");
    expect(text(path)).toBe("2");
    expect(readdirSync(dir)).toEqual(["show.json"]);
  });

  it("that fails leaves the old file, and nothing beside it", async () => {
    const path = join(dir, "show.json");
    await replace(path, "1");
    const disk = { ...machineDisk, rename: failing("ENOSPC") };
    await expect(replace(path, "2", 0o644, disk)).rejects.toMatchObject({ code: "ENOSPC" });
    expect(text(path)).toBe("1");
    expect(readdirSync(dir)).toEqual(["show.json"]);
  });
});

describe("a directory", () => {
  it("that a killed process has just made is lost with the power, though another has relied on it", async () => {
    // Killed between making the directory and syncing the one above it.
    const disk = SimulatedDisk.holding([["/srv/file", Buffer.from("x")]]);
    await disk.makeDirectory("/srv/data");
    await makeDirectory("/srv/data", 0o755, disk.process());
    for (const fate of disk.everyPowerLoss())
      expect((await disk.afterPowerLoss(fate).stat("/srv/data")).isDirectory()).toBe(true);
  });

  it("that another process makes at the same time is made", async () => {
    const disk: Disk = {
      ...machineDisk,
      makeDirectory: async (path) => {
        mkdirSync(path);
        throw failure("EEXIST");
      },
    };
    await makeDirectory(join(dir, "a/b"), 0o755, disk);
    expect(lstatSync(join(dir, "a/b")).isDirectory()).toBe(true);
  });

  it("that is there is relied on where we may not sync the one above it, and not where syncing fails", async () => {
    const above = (code: string): Disk => ({
      ...machineDisk,
      open: async (path, flags, mode) => {
        const file = await machineDisk.open(path, flags, mode);
        file.sync = failing(code);
        return file;
      },
    });
    for (const code of ["EACCES", "EINVAL"]) await makeDirectory(dir, 0o755, above(code));
    await expect(makeDirectory(dir, 0o755, above("EIO"))).rejects.toMatchObject({ code: "EIO" });
  });

  it("cannot be made where a file is, nor below one", async () => {
    writeFileSync(join(dir, "file"), "");
    await expect(makeDirectory(join(dir, "file"))).rejects.toMatchObject({ code: "EEXIST" });
    await expect(makeDirectory(join(dir, "file/below"))).rejects.toMatchObject({ code: "EEXIST" });
  });

  it("that may not be made, or cannot be looked at, says so", async () => {
    const disk = { ...machineDisk, makeDirectory: failing("EACCES") };
    await expect(makeDirectory(join(dir, "a"), 0o755, disk)).rejects.toMatchObject({ code: "EACCES" });
    symlinkSync("loop", join(dir, "loop"));
    await expect(makeDirectory(join(dir, "loop/a"))).rejects.toMatchObject({ code: "ELOOP" });
  });

  it("on a drive that is not there ends at its root, not in an endless climb", async () => {
    const disk: Disk = { ...machineDisk, stat: failing("ENOENT"), makeDirectory: failing("ENODEV") };
    await expect(makeDirectory("/a/b", 0o755, disk)).rejects.toMatchObject({ code: "ENODEV" });
  });
});

describe("a small file", () => {
  it("is read whole, also when it takes several reads", async () => {
    const bytes = Buffer.alloc(200_000, 7);
    writeFileSync(join(dir, "f"), bytes);
    expect((await readSmallFile(join(dir, "f"), "the file")).equals(bytes)).toBe(true);
  });

  it("of more bytes than it may have is not read to its end", async () => {
    writeFileSync(join(dir, "f"), Buffer.alloc(11));
    expect(await readSmallFile(join(dir, "f"), "the signature", 11)).toHaveLength(11);
    await expect(readSmallFile(join(dir, "f"), "the signature", 10)).rejects.toMatchObject({
      code: "unreadable_file",
      message: `the signature ${join(dir, "f")} has more than 10 bytes, it cannot be one: check the path`,
    });
  });

  it("that cannot be read says what is wrong with its path", async () => {
    writeFileSync(join(dir, "file"), "");
    const read = (path: string, disk = machineDisk) =>
      readSmallFile(join(dir, path), "the manifest", 100, disk);
    const missing = {
      code: "missing_file",
      message: expect.stringMatching(/^the manifest .* does not exist/),
    };
    await expect(read("none")).rejects.toMatchObject(missing);
    await expect(read("file/none")).rejects.toMatchObject(missing);
    await expect(read(".")).rejects.toMatchObject({
      code: "unreadable_file",
      message: expect.stringMatching(/is a directory where a file is needed/),
    });
    // Root may read everything, so the disk has to refuse in its place.
    await expect(read("file", { ...machineDisk, open: failing("EACCES") })).rejects.toMatchObject({
      code: "unreadable_file",
      message: expect.stringMatching(/may not be read by this user: check its owner and permissions/),
    });
    await expect(read("file", { ...machineDisk, open: failing("EIO") })).rejects.toMatchObject({
      code: "unreadable_file",
      message: expect.stringMatching(/cannot be read \(EIO\): check the path and the disk/),
      cause: expect.objectContaining({ code: "EIO" }),
    });
    const strange = { ...machineDisk, open: () => Promise.reject("a disk that throws words") };
    await expect(read("file", strange)).rejects.toMatchObject({
      message: expect.stringMatching(/cannot be read \(a disk that throws words\)/),
    });
  });
});

describe("exists", () => {
  it("answers for what is there, for what is not, and does not guess", async () => {
    writeFileSync(join(dir, "file"), "");
    symlinkSync("loop", join(dir, "loop"));
    expect(await exists(dir)).toBe(true);
    expect(await exists(join(dir, "none"))).toBe(false);
    expect(await exists(join(dir, "file/none"))).toBe(false);
    await expect(exists(join(dir, "loop"))).rejects.toMatchObject({ code: "ELOOP" });
  });
});
