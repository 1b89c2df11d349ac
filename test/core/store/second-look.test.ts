import { describe, expect, it } from "vitest";
import { type Completion, SecondLook } from "../../../core/store/second-look.ts";

/** A server's list of completions, and what was found by looking at it again. */
function stage() {
  const events: Completion[] = [];
  const found: unknown[] = [];
  const asked: number[] = [];
  const look = new SecondLook(
    async (id) => {
      asked.push(id);
      return events.filter((event) => event.id > id);
    },
    (result) => found.push(result),
  );
  const commit = (id: number) => events.push({ id, result: `r${id}` });
  return { look, commit, found, asked };
}

describe("second look", () => {
  it("finds the completion that committed behind a higher one, once", async () => {
    const { look, commit, found } = stage();
    look.passed(1, false);
    commit(3);
    look.passed(3, true);
    await look.look();
    commit(2);
    look.passed(4, false);
    await look.look();
    expect(found).toEqual(["r2"]);
    look.passed(5, false);
    await look.look();
    expect(found).toEqual(["r2"]);
  });

  it("delivers nothing that the reader delivered or will still come to", async () => {
    const { look, commit, found } = stage();
    for (const id of [5, 6, 9]) commit(id);
    look.passed(5, true);
    look.passed(6, true);
    look.passed(7, false);
    await look.look();
    expect(found).toEqual([]);
  });

  it("asks nothing while nothing has passed since, and reaches back two looks", async () => {
    const { look, asked } = stage();
    await look.look();
    expect(asked).toEqual([]);
    for (const id of [10, 20, 30, 40]) {
      look.passed(id, false);
      await look.look();
    }
    expect(asked).toEqual([9, 9, 10, 20]);
    await look.look();
    await look.look();
    await look.look();
    expect(asked).toEqual([9, 9, 10, 20, 30]);
  });

  it("does not look twice at once, and looks again after it failed", async () => {
    let answer: (error: Error) => void = () => {};
    let asked = 0;
    const look = new SecondLook(
      () => {
        asked++;
        return new Promise((_, reject) => {
          answer = reject;
        });
      },
      () => {},
    );
    look.passed(1, true);
    const first = look.look();
    await look.look();
    expect(asked).toBe(1);
    answer(new Error("the server is gone"));
    await expect(first).rejects.toThrow("the server is gone");
    const second = look.look();
    expect(asked).toBe(2);
    answer(new Error("still"));
    await expect(second).rejects.toThrow("still");
  });
});
