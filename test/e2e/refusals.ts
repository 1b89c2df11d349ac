/**
 * What every refusal must be: one sentence of ours on one line, a documented exit code, no stack trace, no secret,
 * and every file as it was.
 */
import { createHash } from "node:crypto";
import { type Dirent, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { expect } from "vitest";
import type { Ended } from "./cli.ts";

const STACK = /^\s+at |file:\/\/|node:internal|node_modules/m;
/** 32 bytes in base64url: every key of ours. */
const KEY = /"(master|key|quotaKey|settlementKey|tokenRoot|privateKey)":"([\w-]{43})"/g;

/** @param secrets what no output may hold */
export function expectRefusal(
  ended: Ended,
  code: 1 | 2,
  sentence: RegExp,
  secrets: readonly string[] = [],
): void {
  expectTidy(ended, secrets);
  const said = ended.stderr.split("\n").filter((line) => line.startsWith("hongbao: "));
  expect(said, ended.stderr).toHaveLength(1);
  expect(said[0]).toMatch(sentence);
  expect(ended.code, ended.stderr).toBe(code);
}

/** No stack trace, no bug, no secret; on stderr sentences and log lines, which are JSON. */
export function expectTidy(ended: Omit<Ended, "code">, secrets: readonly string[] = []): void {
  const output = `${ended.stdout}\n${ended.stderr}`;
  expect(output).not.toMatch(STACK);
  expect(output).not.toContain("internal error");
  for (const secret of secrets) expect(output).not.toContain(secret);
  const others = ended.stderr.split("\n").filter((line) => line !== "" && !line.startsWith("hongbao: "));
  for (const line of others) expect(() => JSON.parse(line), line).not.toThrow();
}

/** Path and SHA-256 of every file below `dir`, but for locks, which hold nothing, and SQLite's scratch files. */
export function fingerprint(dir: string): ReadonlyMap<string, string> {
  const files = entries(dir)
    .filter((entry) => entry.isFile() && !/^(mint\.)?lock$|-(shm|wal)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  return new Map(files.map((path) => [relative(dir, path), hashOf(path)]));
}

/** The keys in all key files below `dir`, as text. */
export function secretsBelow(dir: string): string[] {
  return entries(dir)
    .filter((entry) => entry.isFile() && entry.name.endsWith(".key"))
    .flatMap((entry) => [...readFileSync(join(entry.parentPath, entry.name), "utf8").matchAll(KEY)])
    .flatMap(([, , key]) => key ?? []);
}

function entries(dir: string): Dirent[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true });
}

function hashOf(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}
