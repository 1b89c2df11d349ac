/** Lives that open, fail and end as the test says; what a server does to them is in the tests of each backend. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { type Life, QueueSession, within } from "../../../core/store/queue-session.ts";

const PATIENCE = { timeout: 20_000, interval: 5 };

interface Lived extends Life<string> {
  readonly lost: (error: unknown) => void;
  open(): void;
  ended: boolean | undefined;
}

/** A session of lives 1, 2, 3 …, each of which opens when the test says so. */
function stage(onOpen: (life: Lived, number: number) => void = (life) => life.open()) {
  const lives: Lived[] = [];
  const log: string[] = [];
  const session = new QueueSession<string>(
    "a server",
    (lost) => {
      let open: () => void = () => {};
      const life: Lived = {
        ready: new Promise((resolve) => {
          const name = `life ${lives.length + 1}`;
          open = () => resolve(name);
        }),
        end: async (graceful) => {
          life.ended = graceful;
        },
        lost: (error) => lost(error instanceof Error ? error : new Error(String(error))),
        open: () => open(),
        ended: undefined,
      };
      lives.push(life);
      onOpen(life, lives.length);
      return life;
    },
    { trouble: (message) => log.push(message), recovered: () => log.push("recovered") },
  );
  sessions.push(session);
  return { session, lives, log };
}

const sessions: QueueSession<string>[] = [];
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
});

const trouble = (why: string) => `The queue cannot be used now (a server: ${why}); trying again.`;

describe("a queue session", () => {
  it("gives the life in use, waits for one that is opening, and refuses when none opens in time", async () => {
    const { session, lives } = stage(() => {});
    await expect(session.opened(1)).rejects.toMatchObject({
      code: "queue_unavailable",
      message: "The queue cannot be reached (a server).",
    });
    const waiting = session.opened(20_000);
    lives[0]?.open();
    expect(await waiting).toBe("life 1");
    expect(await session.opened(0)).toBe("life 1");
    expect(session.current).toBe("life 1");
  });

  it("replaces a life that is lost, tells of the outage once, and of its end once", async () => {
    const { session, lives, log } = stage();
    await vi.waitFor(() => expect(session.current).toBe("life 1"), PATIENCE);
    lives[0]?.lost(new Error("reset"));
    lives[0]?.lost(new Error("reset again"));
    await vi.waitFor(() => expect(log).toEqual([trouble("reset"), "recovered"]), PATIENCE);
    expect(session.current).toBe("life 2");
    expect(lives.map(({ ended }) => ended)).toEqual([false, undefined]);
  });

  it("a life that is lost in the moment in which it opened is over like any other", async () => {
    const { session, lives } = stage((life, number) => {
      life.open();
      // Behind the opening, and in front of the session's looking at it.
      if (number === 1) life.ready.then(() => queueMicrotask(() => life.lost("cut")));
    });
    await vi.waitFor(() => expect(session.current).toBe("life 2"), PATIENCE);
    expect(lives[0]?.ended).toBe(false);
  });

  it("a call that failed ends its life, and only a call that succeeds ends the outage", async () => {
    const { session, log } = stage();
    await vi.waitFor(() => expect(session.current).toBe("life 1"), PATIENCE);
    session.fail("life 1", new Error("out of memory"));
    await vi.waitFor(() => expect(session.current).toBe("life 2"), PATIENCE);
    session.fail("life 1", new Error("a late call of a life that is gone"));
    expect(session.current).toBe("life 2");
    // Longer than a life needs to be a good one: that alone says nothing yet.
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(log).toEqual([trouble("out of memory")]);
    session.confirm();
    session.confirm();
    expect(log).toEqual([trouble("out of memory"), "recovered"]);
  });

  it("a life that cannot even be begun is an outage, too", async () => {
    const { log } = stage((life, number) => {
      if (number === 1) throw new Error("no such module");
      life.open();
    });
    await vi.waitFor(() => expect(log).toEqual([trouble("no such module"), "recovered"]), PATIENCE);
  });

  it("says what was thrown, also when it says little", async () => {
    for (const [thrown, said] of [
      [
        new AggregateError([new Error("connect ECONNREFUSED ::1"), new Error("second")], ""),
        "connect ECONNREFUSED ::1",
      ],
      [new AggregateError([], "none of them"), "none of them"],
      [new TypeError(""), "TypeError"],
    ] as const) {
      const { session, lives, log } = stage();
      await vi.waitFor(() => expect(session.current).toBe("life 1"), PATIENCE);
      lives[0]?.lost(thrown);
      await vi.waitFor(() => expect(log[0]).toBe(trouble(said)), PATIENCE);
    }
  });

  it("closes its life gracefully, opens no other, and refuses what comes later", async () => {
    const { session, lives, log } = stage();
    await vi.waitFor(() => expect(session.current).toBe("life 1"), PATIENCE);
    await session.close();
    expect(lives.map(({ ended }) => ended)).toEqual([true]);
    await expect(session.opened(20_000)).rejects.toMatchObject({ code: "queue_unavailable" });
    expect(log).toEqual([]);
  });
});

describe("within", () => {
  const never = new Promise<never>(() => {});

  it("gives what the promise gives, or says that it took too long", async () => {
    expect(await within(20_000, Promise.resolve("value"))).toBe("value");
    await expect(within(20_000, Promise.reject(new Error("refused")))).rejects.toThrow("refused");
    await expect(within(5, never)).rejects.toThrow("no answer within 5 ms");
  });

  it("ends with the signal's reason, whether it comes later or was there before", async () => {
    const cut = new AbortController();
    const waiting = within(20_000, never, cut.signal);
    cut.abort(new Error("closing"));
    await expect(waiting).rejects.toThrow("closing");
    await expect(within(20_000, never, cut.signal)).rejects.toThrow("closing");
  });
});
