import { describe, expect, it } from "vitest";
import { HongbaoError } from "../../../core/format/error.ts";
import {
  formatKeyFile,
  type KeyFile,
  keyBytes,
  keyText,
  parseKeyFile,
} from "../../../core/format/keyfile.ts";

const key = keyText(Buffer.alloc(32, 0x5a));
const node: KeyFile<"node"> = {
  format: "hongbao.node-key.v1",
  campaign: "gala-2027",
  mode: "test",
  epoch: 1,
  planHash: key,
  shards: [{ shard: 0, key }],
  quotaKey: key,
  publicKeys: { operator: key },
};
const text = formatKeyFile<"node">(node);

function refusal(kind: "node" | "master", content: string): string {
  try {
    parseKeyFile(kind, content, "node-0000.key");
  } catch (error) {
    if (error instanceof HongbaoError && error.code === "invalid_key_file") return error.message;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("key file", () => {
  it("comes back as it was written", () => {
    expect(parseKeyFile("node", text, "node-0000.key")).toEqual(node);
    expect(keyBytes(key).equals(Buffer.alloc(32, 0x5a))).toBe(true);
  });

  it("with any character of it changed is refused, and no refusal shows any of a key", () => {
    for (let at = 0; at < text.length - 1; at++) {
      const changed = text.slice(0, at) + (text[at] === "x" ? "y" : "x") + text.slice(at + 1);
      expect(refusal("node", changed), `character ${at}`).not.toContain(key.slice(1, 20));
    }
  });

  it("with another key of the right form in it is damaged, not another key", () => {
    const other = keyText(Buffer.alloc(32, 0x5b));
    expect(refusal("node", text.replace(key, other))).toBe(
      "node-0000.key is damaged, its check does not hold: install the node key file again",
    );
    expect(refusal("node", JSON.stringify(node))).toMatch(/^node-0000.key is damaged/);
  });

  it("of another kind is named by the fields that are wrong", () => {
    expect(refusal("master", text)).toBe(
      "node-0000.key is not a valid master key file (format, master, unknown keys): install the right one",
    );
  });

  it("has one spelling of each key", () => {
    const spelledOtherwise = `${key.slice(0, -1)}${String.fromCharCode(key.charCodeAt(42) + 1)}`;
    expect(keyBytes(spelledOtherwise).equals(keyBytes(key))).toBe(true);
    expect(refusal("node", formatKeyFile<"node">({ ...node, quotaKey: spelledOtherwise }))).toMatch(
      /not a valid node key file \(quotaKey\)/,
    );
  });

  it.each([
    ["not JSON", "hunter2", "node-0000.key is not a node key file, it is not JSON: install it again"],
    ["a number", "7", expect.stringMatching(/^node-0000.key is not a valid node key file \(format, /)],
    [
      "nothing at all",
      "null",
      expect.stringMatching(/^node-0000.key is not a valid node key file \(format, /),
    ],
  ])("that is %s is refused", (_, content, sentence) => {
    expect(refusal("node", content)).toEqual(sentence);
  });
});
