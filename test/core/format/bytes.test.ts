import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteReader, ByteWriter } from "../../../core/format/bytes.ts";

const bytes = (...values: number[]) => Uint8Array.from(values);

describe("byte writer and reader", () => {
  it("give back what was written, from any first capacity and from the middle of another buffer", () => {
    const values = fc.record({
      capacity: fc.nat({ max: 40 }),
      u8: fc.nat({ max: 0xff }),
      u16: fc.nat({ max: 0xffff }),
      u32: fc.nat({ max: 0xffff_ffff }),
      u64: fc.maxSafeNat(),
      text: fc.string({ unit: "grapheme", maxLength: 60 }),
      raw: fc.uint8Array({ maxLength: 60 }),
    });
    fc.assert(
      fc.property(values, ({ capacity, u8, u16, u32, u64, text, raw }) => {
        const writer = new ByteWriter(capacity).u8(u8).u16(u16).u32(u32).u64(u64).text(text).bytes(raw);
        const written = writer.done();
        expect(writer.length).toBe(written.length);
        const inside = Buffer.concat([Buffer.alloc(3, 0xaa), written]).subarray(3);
        const reader = new ByteReader(inside);
        expect([reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.text()]).toEqual([
          u8,
          u16,
          u32,
          u64,
          text,
        ]);
        expect(reader.left).toBe(raw.length);
        expect(reader.bytes(raw.length).equals(raw)).toBe(true);
        reader.end();
      }),
    );
  });

  it("write the high byte first", () => {
    const written = new ByteWriter().u16(0x0102).u32(0x0304_0506).u64(0x0708_090a_0b0c).done();
    expect([...written]).toEqual([1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12]);
  });

  it.each([-1, 0.5, 2 ** 53, Number.NaN])("%d is no offset and no time: it is not written", (value) => {
    expect(() => new ByteWriter().u64(value)).toThrow(new RangeError(`${value} is not a safe integer`));
  });

  it("a value too large for its field is not written", () => {
    expect(() => new ByteWriter().u8(256)).toThrow(RangeError);
    expect(() => new ByteWriter().u16(0x1_0000)).toThrow(RangeError);
    expect(() => new ByteWriter().u32(2 ** 32)).toThrow(RangeError);
    expect(() => new ByteWriter().text("x".repeat(0x1_0000))).toThrow(RangeError);
  });

  it("the largest safe integer is read, and the next one refused", () => {
    expect(new ByteReader(bytes(0, 0x1f, 255, 255, 255, 255, 255, 255)).u64()).toBe(Number.MAX_SAFE_INTEGER);
    expect(() => new ByteReader(bytes(0, 0x20, 0, 0, 0, 0, 0, 0)).u64()).toThrow(
      new RangeError("an integer exceeds 2^53"),
    );
  });

  it("an input that ends too early, or goes on behind its end, is a RangeError that says by how much", () => {
    expect(() => new ByteReader(bytes(1)).u32()).toThrow(new RangeError("3 bytes missing"));
    expect(() => new ByteReader(bytes(0, 5, 65)).text()).toThrow(new RangeError("4 bytes missing"));
    const reader = new ByteReader(bytes(1, 2, 3));
    reader.u8();
    expect(() => reader.end()).toThrow(new RangeError("2 bytes too many"));
  });

  it("a text that is not UTF-8 is refused, not repaired", () => {
    expect(() => new ByteReader(bytes(0, 2, 0xc3, 0x28)).text()).toThrow(TypeError);
  });
});
