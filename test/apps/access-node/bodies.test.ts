import { describe, expect, it } from "vitest";
import { readBody, shakeBody } from "../../../apps/access-node/bodies.ts";

const SHOW_BYTES_MAX = 256 * 1024;

function body(text: string): Request {
  return new Request("http://node/v1/shake", { method: "POST", body: text });
}

describe("a body", () => {
  it.each([
    ["arrays", "[".repeat(100_000) + "]".repeat(100_000)],
    ["open arrays", "[".repeat(9)],
    ["objects", `${'{"a":'.repeat(9)}1${"}".repeat(9)}`],
    ["both, behind a string with quotes", `{"user":"\\"}]","device":${'[{"x":'.repeat(9)}`],
  ])("nested deeply in %s is refused before it is parsed", async (_, text) => {
    await expect(readBody(body(text), shakeBody, SHOW_BYTES_MAX)).rejects.toThrow(
      "the body is nested deeper than 8 levels",
    );
  });

  it("may hold as many brackets in its texts as it likes", async () => {
    const user = '[[[[[[[[[[{{{{{{{{{{\\"\\\\';
    expect(await readBody(body(`{"user":"${user}","device":"d"}`), shakeBody)).toEqual({
      user: JSON.parse(`"${user}"`),
      device: "d",
    });
  });
});
