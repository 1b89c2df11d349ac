import { afterEach, describe, expect, it, vi } from "vitest";
import { readBody, shakeBody } from "../../../apps/access-node/bodies.ts";

const SHOW_BYTES_MAX = 256 * 1024;

function body(text: string): Request {
  return new Request("http://node/v1/shake", { method: "POST", body: text });
}

/** A body that comes in pieces, and what it still waits for. */
function slowBody(...pieces: readonly string[]) {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  for (const piece of pieces) void writer.write(Buffer.from(piece)).catch(() => {});
  return {
    request: new Request("http://node/v1/show", { method: "PUT", body: readable, duplex: "half" }),
    writer,
  };
}

afterEach(() => {
  vi.restoreAllMocks();
});

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

  it("that may be large is read into a buffer that another was read into before", async () => {
    const made = vi.spyOn(Buffer, "allocUnsafeSlow");
    for (let i = 0; i < 20; i++) {
      const { request, writer } = slowBody('{"user":"ann",', `"device":"phone ${i}"}`);
      const read = readBody(request, shakeBody, SHOW_BYTES_MAX);
      await writer.close();
      expect(await read).toEqual({ user: "ann", device: `phone ${i}` });
    }
    expect(made.mock.calls.filter(([bytes]) => bytes === SHOW_BYTES_MAX).length).toBeLessThanOrEqual(1);
  });

  it("that may be large gives its buffer back when its sender goes away, or sends too much", async () => {
    const full = " ".repeat(SHOW_BYTES_MAX / 4);
    const made = vi.spyOn(Buffer, "allocUnsafeSlow");
    for (let i = 0; i < 20; i++) {
      const gone = slowBody("{");
      const read = readBody(gone.request, shakeBody, SHOW_BYTES_MAX);
      await gone.writer.abort(new Error("gone"));
      await expect(read).rejects.toThrow("the body ended early");
      const endless = slowBody(full, full, full, full, " ");
      await expect(readBody(endless.request, shakeBody, SHOW_BYTES_MAX)).rejects.toThrow(
        "a body may have at most 262144 bytes",
      );
    }
    expect(made.mock.calls.filter(([bytes]) => bytes === SHOW_BYTES_MAX).length).toBeLessThanOrEqual(1);
  });

  it("that may be large shares its buffer with nobody while it comes", async () => {
    const bodies = Array.from({ length: 8 }, () => slowBody());
    const read = bodies.map(({ request }) => readBody(request, shakeBody, SHOW_BYTES_MAX));
    for (const [i, { writer }] of bodies.entries()) await writer.write(Buffer.from(`{"user":"user ${i}",`));
    for (const [i, { writer }] of bodies.entries()) {
      await writer.write(Buffer.from(`"device":"phone ${i}"}`));
      await writer.close();
    }
    expect(await Promise.all(read)).toEqual(
      bodies.map((_, i) => ({ user: `user ${i}`, device: `phone ${i}` })),
    );
  });

  it("that may be large may be missing", async () => {
    const request = new Request("http://node/v1/show", { method: "PUT" });
    await expect(readBody(request, shakeBody, SHOW_BYTES_MAX)).rejects.toThrow("the body is not JSON");
  });
});
