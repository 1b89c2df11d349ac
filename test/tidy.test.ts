import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

/**
 * The house rules, held against the real tree: which room may import which, no long file, no file that nobody
 * enters. A rule is changed here and in ARCHITECTURE.md, or not at all.
 */
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const LINES_MAX = 300;

/** room -> rooms it may import. Programs never import each other; only the CLI imports their entry points. */
const ALLOWED: Record<string, readonly string[]> = {
  "core/format": [],
  "core/store": ["core/format"],
  generator: ["core/format", "core/store"],
  "apps/access-node": ["core/format", "core/store"],
  "apps/credit-worker": ["core/format", "core/store"],
  "apps/show-control": ["core/format", "core/store"],
  // The audit mints again and compares.
  "scripts/reconcile": ["core/format", "core/store", "generator"],
  "scripts/bench": ["core/format", "core/store", "generator", "apps/access-node", "apps/credit-worker"],
  "scripts/torture": [
    "core/format",
    "core/store",
    "generator",
    "apps/access-node",
    "apps/credit-worker",
    "scripts/reconcile",
    "scripts/torture/checker",
  ],
  // Independent of everything that it checks, but for the formats.
  "scripts/torture/checker": ["core/format"],
  "apps/cli": [
    "core/format",
    "core/store",
    "generator",
    "apps/access-node",
    "apps/credit-worker",
    "apps/show-control",
    "scripts/reconcile",
  ],
};

/** Rooms with no input and output of their own: these built-in modules only compute. */
const PURE_ROOM = "core/format";
const PURE_MODULES = ["node:crypto", "node:zlib"];

/** Files that nobody imports, because something outside starts them: tests, as well, for the stage. */
const ENTRANCES = [
  "apps/cli/main.ts",
  "generator/mint-worker.ts",
  "scripts/torture/main.ts",
  "scripts/torture/hostile/attacker.ts",
  "scripts/torture/time/skewed-clock.ts",
];

const sources = ["core", "generator", "apps", "scripts"].flatMap((top) => filesBelow(join(ROOT, top)));

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return filesBelow(path);
    return entry.name.endsWith(".ts") ? [relative(ROOT, path)] : [];
  });
}

/** Every specifier of an import, export-from or import() in a file. */
function specifiers(file: string): string[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  const pattern = /(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']/g;
  return [...text.matchAll(pattern)].map((match) => match[1] ?? "");
}

function imports(file: string): string[] {
  return specifiers(file)
    .filter((specifier) => specifier.startsWith("."))
    .map((specifier) => normalize(join(dirname(file), specifier)));
}

function room(file: string): string {
  const rooms = Object.keys(ALLOWED).filter((name) => file.startsWith(`${name}/`));
  return rooms.sort((a, b) => b.length - a.length)[0] ?? file;
}

function forbiddenEdges(files: readonly string[]): string[] {
  return files.flatMap((file) =>
    imports(file)
      .filter((target) => room(target) !== room(file) && !ALLOWED[room(file)]?.includes(room(target)))
      .map((target) => `${file} -> ${target}`),
  );
}

describe("tidy", () => {
  it("finds the tree", () => {
    expect(sources.length).toBeGreaterThan(60);
    expect(imports("apps/access-node/node.ts")).toContain("core/store/queue.ts");
    expect(imports("apps/cli/commands/node.ts")).toContain("apps/access-node/node.ts");
  });

  it("every file stands in a room of the table", () => {
    expect(sources.filter((file) => room(file) === file)).toEqual([]);
  });

  it("no import crosses a wall that the table does not open", () => {
    expect(forbiddenEdges(sources)).toEqual([]);
  });

  it("the pure core reads no file, socket, clock or environment", () => {
    const impure = sources
      .filter((file) => room(file) === PURE_ROOM)
      .flatMap((file) => {
        const modules = specifiers(file).filter((s) => s.startsWith("node:") && !PURE_MODULES.includes(s));
        const text = readFileSync(join(ROOT, file), "utf8");
        const globals =
          text.match(/\b(process\.(?=[a-z])|Date\.now\(|performance\.now\(|Math\.random\()/g) ?? [];
        return [...modules, ...globals].map((what) => `${file}: ${what}`);
      });
    expect(impure).toEqual([]);
  });

  it("nothing draws from Math.random, and only the CLI, benches and experiments touch process and console", () => {
    const found = sources.flatMap((file) => {
      const text = readFileSync(join(ROOT, file), "utf8");
      const everywhere = text.match(/\bMath\.random\(/g) ?? [];
      const inside = ["apps/cli/", "scripts/bench/", "scripts/torture/"].some((room) => file.startsWith(room))
        ? []
        : (text.match(/\b(process\.env|process\.exit|process\.argv|console\.)/g) ?? []);
      return [...everywhere, ...inside].map((what) => `${file}: ${what}`);
    });
    expect(found).toEqual([]);
  });

  it(`no file has more than ${LINES_MAX} lines`, () => {
    const long = sources
      .map((file) => ({ file, lines: readFileSync(join(ROOT, file), "utf8").split("\n").length - 1 }))
      .filter(({ lines }) => lines > LINES_MAX);
    expect(long).toEqual([]);
  });

  it("no file that nobody imports", () => {
    const entered = new Set([...sources.flatMap(imports), ...ENTRANCES]);
    const programs = sources.filter((file) => /^scripts\/(bench|torture\/(experiments|stage))\//.test(file));
    expect(
      sources.filter((file) => !entered.has(file) && !programs.includes(file) && !file.endsWith(".d.ts")),
    ).toEqual([]);
  });

  it("no import circle", () => {
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, path: string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (done.has(file) || path.includes(file)) return;
      for (const target of imports(file)) visit(target, [...path, file]);
      done.add(file);
    };
    for (const file of sources) visit(file, []);
    expect(circles).toEqual([]);
  });

  it("the lockfile names every optional package: npm ci refuses one that does not", () => {
    const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
      packages: Record<string, { optionalDependencies?: Record<string, string> }>;
    };
    const names = new Set(Object.keys(packages).map((path) => path.split("node_modules/").at(-1)));
    const wanted = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
    expect(wanted.length).toBeGreaterThan(10);
    expect(wanted.filter((name) => !names.has(name))).toEqual([]);
  });

  it("every file says at its head what it is for", () => {
    const silent = sources.filter((file) => !/^(#!.*\n)?\/\*\*/.test(readFileSync(join(ROOT, file), "utf8")));
    expect(silent.filter((file) => !file.endsWith(".d.ts"))).toEqual([]);
  });
});
