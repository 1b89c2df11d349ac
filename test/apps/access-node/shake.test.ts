import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Minted, mint } from "../../../scripts/torture/stage/minted.ts";
import { type Served, START_MS, serve } from "./served.ts";

let minted: Minted;
let node: Served;

beforeEach(async () => {
  minted = await mint();
  node = await serve(minted);
});
afterEach(async () => {
  await node.stop();
  minted.remove();
});

const show = (rounds: object[], version = 1, stop = false) => ({
  campaign: "gala-test",
  version,
  stop,
  rounds,
});
const round = (from: number, to: number, more: object = {}) => ({
  id: `r${from}`,
  opensAt: new Date(START_MS + from * 1000).toISOString(),
  closesAt: new Date(START_MS + to * 1000).toISOString(),
  ads: [1, 2],
  hitProbability: 1,
  ...more,
});
const left = () => node.shard.channels.reduce((sum, channel) => sum + channel.left, 0);
const who = (n: number | string) => ({ user: `user-${n}`, device: "phone" });

describe("shake: what comes out", () => {
  it("gives a packet with token, ad and pass, and uses up exactly one", async () => {
    const { status, body } = await node.shake(who(1));
    expect(status).toBe(200);
    expect(body["outcome"]).toBe("packet");
    expect(body["token"]).toMatch(/^[A-Za-z0-9_-]{60}$/);
    expect([1, 2]).toContain(body["ad"]);
    expect(left()).toBe(99);
  });

  it("hands every packet of the shard to one taker, whoever shakes at once, and then it is over", async () => {
    const answers = await Promise.all(Array.from({ length: 260 }, (_, i) => node.shake(who(i))));
    const rest = [];
    for (let i = 260; i < 600 && left() > 0; i++) rest.push(await node.shake(who(i)));
    const tokens = [...answers, ...rest].flatMap(({ body }) =>
      body["outcome"] === "packet" ? [body["token"]] : [],
    );
    expect(tokens).toHaveLength(100);
    expect(new Set(tokens).size).toBe(100);
    expect((await node.shake(who("late"))).body).toEqual({ outcome: "over" });
  });

  it("no luck is a greeting and uses up nothing", async () => {
    await node.push(show([round(-1, 100, { hitProbability: 0.5 })]));
    node.luck = 0.5;
    expect((await node.shake(who(1))).body).toEqual({ outcome: "greeting" });
    expect(left()).toBe(100);
    node.luck = 0.49;
    expect((await node.shake(who(1))).body["outcome"]).toBe("packet");
  });

  it.each([
    ["no JSON", "{"],
    ["no user", { device: "d" }],
    ["an empty user", { user: "", device: "d" }],
    ["a user of 129 bytes", { user: "é".repeat(65), device: "d" }],
    ["a control character", { user: "a\u0000b", device: "d" }],
    ["half a surrogate pair", '{"user":"\\ud800","device":"d"}'],
    ["a number for a device", { user: "u", device: 7 }],
    ["a number for a pass", { user: "u", device: "d", pass: 7 }],
    ["an unknown field", { user: "u", device: "d", cents: 100 }],
    ["an array", []],
  ])("%s is 400 and uses up nothing", async (_, body) => {
    const answer = await node.shake(body);
    expect(answer).toMatchObject({ status: 400, body: { code: "invalid_request" } });
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(left()).toBe(100);
  });

  it("a body over 16 KiB is 413, with and without a declared length", async () => {
    const big = JSON.stringify({ ...who(1), pass: "x".repeat(17 * 1024) });
    expect((await node.shake(big)).status).toBe(413);
    const stream = new Blob([big]).stream();
    const init = { method: "POST", body: stream, duplex: "half" } as RequestInit;
    expect((await node.request("/v1/shake", init)).status).toBe(413);
    expect(left()).toBe(100);
  });
});

describe("shake: the programme decides when", () => {
  it("before a round it counts down; it opens and closes by the node's own clock", async () => {
    expect((await node.push(show([round(60, 120)]))).status).toBe(204);
    const opensAt = new Date(START_MS + 60_000).toISOString();
    expect((await node.shake(who(1))).body).toEqual({ outcome: "countdown", startsAt: opensAt });
    expect(left()).toBe(100);
    node.nowMs = START_MS + 60_000;
    expect((await node.shake(who(1))).body["outcome"]).toBe("packet");
    node.nowMs = START_MS + 120_000;
    expect((await node.shake(who(2))).body).toEqual({ outcome: "over" });
  });

  it("a packet is recorded at the moment for which it was allowed, though the round ends in the next", async () => {
    await node.push(show([round(60, 120)]));
    node.nowMs = START_MS + 60_000;
    // Its lease is waited for; the next one's is there.
    expect((await node.shake(who(0))).body["outcome"]).toBe("packet");
    const append = vi.spyOn(node.shard, "append");
    let nowMs = START_MS + 120_000 - 1;
    Object.defineProperty(node, "nowMs", { get: () => nowMs++ });
    expect((await node.shake(who(1))).body["outcome"]).toBe("packet");
    expect(append).toHaveBeenCalledWith(
      expect.objectContaining({ type: "issue", atMs: START_MS + 120_000 - 1 }),
    );
  });

  it("keeps the plan over a restart, without a further message", async () => {
    await node.push(show([round(60, 120)]));
    await node.crash();
    node = await serve(minted);
    expect((await node.shake(who(1))).body["outcome"]).toBe("countdown");
    node.nowMs = START_MS + 61_000;
    expect((await node.shake(who(1))).body["outcome"]).toBe("packet");
  });

  it("stopped, or never told anything, counts down without a time", async () => {
    await node.push(show([round(-1, 100)], 1, true));
    expect((await node.shake(who(1))).body).toEqual({ outcome: "countdown", startsAt: null });
    await node.stop();
    node = await serve(minted, { shard: 1, openNow: false });
    expect((await node.shake(who(1))).body).toEqual({ outcome: "countdown", startsAt: null });
  });

  it("releases only the ads on air; between rounds with stock to come it greets or counts down", async () => {
    await node.push(show([round(-1, 100, { ads: [2] }), round(200, 300, { ads: [1] })]));
    for (let i = 0; i < 25; i++) expect((await node.shake(who(i))).body["ad"]).toBe(2);
    expect((await node.shake(who(99))).body).toEqual({ outcome: "greeting" });
    node.nowMs = START_MS + 150_000;
    expect((await node.shake(who(99))).body["outcome"]).toBe("countdown");
    node.nowMs = START_MS + 250_000;
    expect((await node.shake(who(99))).body["ad"]).toBe(1);
  });

  it("paces the release to its shard's share of the campaign's rate", async () => {
    await node.push(show([round(-1, 1000, { packetsPerSecond: 20 })]));
    let released = 0;
    for (let ms = 0; ms < 5000; ms += 10) {
      node.nowMs = START_MS + ms;
      const { body } = await node.shake(who(`${ms}`));
      if (body["outcome"] === "packet") released++;
      else expect(body).toEqual({ outcome: "greeting" });
    }
    // Half of 20 a second for 5 seconds, and at most what the bucket held at the start.
    expect(released).toBeGreaterThanOrEqual(50);
    expect(released).toBeLessThanOrEqual(52);
  });

  it("is over once the campaign has expired", async () => {
    node.nowMs = Date.parse("2099-01-01T00:00:00Z");
    expect((await node.shake(who(1))).body).toEqual({ outcome: "over" });
  });

  it("refuses configs that are older, not signed by the operator, for another campaign or for unknown ads", async () => {
    expect((await node.push(show([round(1, 2)], 5))).status).toBe(204);
    expect(await node.push(show([round(1, 2)], 5))).toMatchObject({
      status: 409,
      body: { code: "not_newer" },
    });
    expect(await node.push(show([round(1, 2)], 4))).toMatchObject({ status: 409 });
    const other = { ...show([round(1, 2)], 6), campaign: "other" };
    expect(await node.push(other)).toMatchObject({ status: 400, body: { code: "invalid_show" } });
    expect(await node.push(show([round(1, 2, { ads: [9] })], 6))).toMatchObject({ status: 400 });
    const text = JSON.stringify(show([round(1, 2)], 7));
    const forged = JSON.stringify({ show: text, signatures: [{ role: "operator", sig: "A".repeat(86) }] });
    const init = { method: "PUT", headers: { "content-type": "application/json" }, body: forged };
    expect(await node.request("/v1/show", init)).toMatchObject({
      status: 403,
      body: { code: "bad_signature" },
    });
    expect((await node.get("/v1/show")).body["version"]).toBe(5);
  });
});

describe("shake: quota", () => {
  it("one packet a user and ad, counted by the node even if the pass is dropped", async () => {
    const ads = [(await node.shake(who(1))).body["ad"], (await node.shake(who(1))).body["ad"]];
    expect(ads.sort()).toEqual([1, 2]);
    expect((await node.shake(who(1))).body).toEqual({ outcome: "limit" });
    expect(left()).toBe(98);
    await node.crash();
    node = await serve(minted);
    expect((await node.shake(who(1))).body).toEqual({ outcome: "limit" });
  });

  it("another node counts what the pass says was won here", async () => {
    const first = await node.shake(who(1));
    const second = await node.shake({ ...who(1), pass: first.body["pass"] });
    const other = await serve(minted, { shard: 1 });
    expect((await other.shake({ ...who(1), pass: second.body["pass"] })).body).toEqual({ outcome: "limit" });
    expect((await other.shake(who(1))).body["outcome"]).toBe("packet");
    await other.stop();
  });

  it("somebody else's pass, or a damaged one, counts as none", async () => {
    const pass = String((await node.shake(who(1))).body["pass"]);
    const second = String((await node.shake({ ...who(1), pass })).body["pass"]);
    const damaged = `${second.slice(0, 20)}${second[20] === "A" ? "B" : "A"}${second.slice(21)}`;
    const other = await serve(minted, { shard: 1 });
    expect((await other.shake({ ...who(2), pass: second })).body["outcome"]).toBe("packet");
    expect((await other.shake({ ...who(1), pass: damaged })).body["outcome"]).toBe("packet");
    await other.stop();
  });
});

describe("shake: Idempotency-Key", () => {
  it("a retried shake gets the same answer to the letter and uses up none", async () => {
    const first = await node.shake(who(1), "key-1");
    const again = await node.shake(who(1), "key-1");
    expect(again.body).toEqual(first.body);
    expect(left()).toBe(99);
  });

  it("concurrent twins share one answer", async () => {
    const twins = await Promise.all(Array.from({ length: 20 }, () => node.shake(who(1), "key-1")));
    expect(new Set(twins.map(({ body }) => body["token"])).size).toBe(1);
    expect(left()).toBe(99);
  });

  it("the answer is the same after a crash and after a clean stop", async () => {
    const first = await node.shake(who(1), "key-1");
    await node.crash();
    node = await serve(minted);
    expect((await node.shake(who(1), "key-1")).body).toEqual(first.body);
    await node.stop();
    node = await serve(minted);
    expect((await node.shake(who(1), "key-1")).body).toEqual(first.body);
  });

  it("the same key with another body is 422; the same key of another user is another key", async () => {
    const first = await node.shake(who(1), "key-1");
    const reused = await node.shake({ ...who(1), pass: first.body["pass"] }, "key-1");
    expect(reused).toMatchObject({ status: 422, body: { code: "key_reused" } });
    expect((await node.shake(who(2), "key-1")).body["token"]).not.toBe(first.body["token"]);
  });

  it("an answer without a packet may be drawn again under the same key", async () => {
    await node.push(show([round(-1, 100, { hitProbability: 0.5 })]));
    node.luck = 0.9;
    expect((await node.shake(who(1), "key-1")).body["outcome"]).toBe("greeting");
    node.luck = 0;
    expect((await node.shake(who(1), "key-1")).body["outcome"]).toBe("packet");
  });
});
