import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { HongbaoError } from "../../../core/format/error.ts";
import { describeQueueAddress, parseQueueAddress } from "../../../core/store/queue-address.ts";

const SECRET = "hunter2";

describe("parseQueueAddress", () => {
  it.each([
    ["redis://localhost:6379", "redis", "redis://localhost:6379"],
    ["redis://localhost", "redis", "redis://localhost"],
    [`rediss://user:${SECRET}@cache.example:6380/2?family=6`, "redis", "rediss://cache.example:6380/2"],
    [`redis://:${SECRET}@[::1]:6379/`, "redis", "redis://[::1]:6379"],
    [`postgres://user:${SECRET}@db.example/queue?sslmode=require`, "postgres", "postgres://db.example/queue"],
    [
      `postgresql://user:p%40${SECRET}@db.example:5433/queue`,
      "postgres",
      "postgresql://db.example:5433/queue",
    ],
    ["postgres:///queue?host=/var/run/postgresql", "postgres", "postgres:///queue"],
    ["  redis://localhost  ", "redis", "redis://localhost"],
  ])("takes %s and describes it without credentials", (url, kind, description) => {
    const address = parseQueueAddress(url, true);
    expect(address).toEqual({ kind, url: url.trim() });
    expect(describeQueueAddress(address)).toBe(description);
  });

  it.each([undefined, "", "  "])("%j is unset: embedded where somebody hosts it, else none", (url) => {
    expect(parseQueueAddress(url, true)).toEqual({ kind: "embedded" });
    expect(parseQueueAddress(url, false)).toEqual({ kind: "none" });
    expect(describeQueueAddress({ kind: "embedded" })).toMatch(/embedded/);
    expect(describeQueueAddress({ kind: "none" })).toMatch(/QUEUE_URL/);
  });

  it.each([
    `localhost:6379:${SECRET}`,
    SECRET,
    `redis://:${SECRET}@localhost:66666`,
    `redis://:${SECRET}@local host`,
    `redis://:${SECRET}%zz@localhost`,
    `redis://:${SECRET}@`,
    "redis:",
    `redis://:${SECRET}@localhost/production`,
    `postgres://user:${SECRET}@`,
    "postgres:///queue",
    `amqp://user:${SECRET}@localhost`,
    `http://user:${SECRET}@localhost:6379`,
  ])("refuses %s, naming the variable and never the password", (url) => {
    const error = refusal(url);
    expect(error.code).toBe("invalid_queue_url");
    expect(error.exitCode).toBe(2);
    expect(error.message).toMatch(/^QUEUE_URL is not usable: .+\. Write it as redis:\/\//);
    // A logger prints the cause and its properties too, and Node's own error for a bad URL holds the URL.
    expect(inspect(error, { depth: null, showHidden: true })).not.toContain(SECRET);
  });
});

function refusal(url: string): HongbaoError {
  try {
    parseQueueAddress(url, true);
  } catch (error) {
    if (error instanceof HongbaoError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}
