import { readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { keyBytes, parseKeyFile } from "../../../core/format/keyfile.ts";
import { shardKey, shardKeys } from "../../../core/format/keyring.ts";
import { encodeToken } from "../../../core/format/token.ts";
import { SecretSearch } from "../../../scripts/torture/secrets.ts";
import { type Minted, mint } from "../../../scripts/torture/stage/minted.ts";
import { type Served, serve } from "../../apps/access-node/served.ts";

/** A secret planted in a text is found and named, however it is spelled and wherever the text was cut. */
let minted: Minted;
let node: Served;
let token: string;
let pass: string;
let found: string[];
let search: SecretSearch;

beforeAll(async () => {
  minted = await mint({ packets: 60, budgetCents: 12_000, shards: 2 });
  node = await serve(minted);
  const { body } = await node.shake({ user: "ann", device: "phone" });
  [token, pass] = [String(body["token"]), String(body["pass"])];
});
afterAll(async () => {
  await node.stop();
  minted.remove();
});
beforeEach(() => {
  found = [];
  search = new SecretSearch(minted.epochDir, (what) => found.push(what));
});

function hear(...pieces: string[]): string[] {
  for (const piece of pieces) search.hear("worker", piece);
  search.end();
  return found;
}

function settlement() {
  return parseKeyFile("settlement", readFileSync(minted.epochDir.settlementKey, "utf8"), "settlement.key");
}

describe("secrets", () => {
  it("names, packets, hashes, public keys and other tokens are none", () => {
    const other = `${token.slice(0, 1)}x${token.slice(2)}`;
    const manifest = readFileSync(minted.epochDir.manifest, "utf8");
    const { publicKeys, planHash } = settlement();
    const log = JSON.stringify({ user: "ann", packet: "1-0-7", other, manifest, publicKeys, planHash });
    expect(hear(log, `token ${token.slice(0, 30)}…`, "AQAB")).toEqual([]);
  });

  it("a token, alone or inside of something longer", () => {
    expect(hear(`{"token":"${token}"}`)).toEqual(["a token, said by worker"]);
    expect(hear(`xx${token}yy`)).toHaveLength(2);
  });

  it("a token that was never handed out, and one as hex", () => {
    const bytes = Buffer.from(token, "base64url");
    bytes[44] = (bytes[44] ?? 0) ^ 1;
    expect(hear(encodeToken(bytes), bytes.toString("hex"))).toEqual([
      "a token, said by worker",
      "a token as hex, said by worker",
    ]);
  });

  it("a pass", () => {
    expect(hear(`"pass":"${pass}"`)).toEqual(["a pass, said by worker"]);
  });

  it("a token that comes in two pieces, between other programs' words", () => {
    search.hear("worker", `a long line ${"x".repeat(2000)} ${token.slice(0, 20)}`);
    search.hear("node 0", "something else");
    expect(hear(`${token.slice(20)} ${"x".repeat(2000)}`)).toEqual(["a token, said by worker"]);
  });

  const file = (name: "master" | "signing", path: string) =>
    parseKeyFile(name, readFileSync(path, "utf8"), path);
  it.each<[string, () => string]>([
    ["the settlement key", () => settlement().settlementKey],
    ["the token root", () => settlement().tokenRoot],
    ["the master key", () => (file("master", minted.epochDir.of.masterKey) as { master: string }).master],
    [
      "the operator's key",
      () => (file("signing", minted.epochDir.of.operatorKey) as { privateKey: string }).privateKey,
    ],
    [
      "the quota key",
      () => parseKeyFile("node", readFileSync(minted.epochDir.nodeKey(1), "utf8"), "").quotaKey,
    ],
    ["the key of shard 1", () => shardKeyText((key) => key)],
    ["the wire key of shard 1", () => shardKeyText((key) => shardKeys(key).wire)],
    ["the receipt key of shard 1", () => shardKeyText((key) => shardKeys(key).receipt)],
    ["the token key of shard 1", () => shardKeyText((key) => shardKeys(key).token)],
  ])("%s, in every spelling", (name, read) => {
    const key = keyBytes(read());
    const spelled = [
      key.toString("base64url"),
      key.toString("hex"),
      key.toString("hex").toUpperCase(),
      JSON.stringify(key),
      JSON.stringify(new Uint8Array(key)),
      key.join(", "),
    ];
    for (const text of spelled) hear(`key ${text}.`);
    expect(found).toHaveLength(spelled.length);
    for (const what of found) expect(what).toMatch(new RegExp(`^${name} as .*, said by worker$`));
  });
});

function shardKeyText(of: (key: Uint8Array) => Uint8Array): string {
  return Buffer.from(of(shardKey(keyBytes(settlement().tokenRoot), 1))).toString("base64url");
}
