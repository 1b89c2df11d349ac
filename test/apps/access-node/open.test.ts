import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sealPass } from "../../../core/format/pass.ts";
import { decodeToken, encodeToken, sealToken, tokenSerial } from "../../../core/format/token.ts";
import { openJournalReader } from "../../../core/store/journal-reader.ts";
import { Life } from "../../../scripts/torture/lives/life.ts";
import { mintedDisk } from "../../../scripts/torture/lives/minted-disk.ts";
import { Witness } from "../../../scripts/torture/lives/witness.ts";
import { seededRandom } from "../../../scripts/torture/random.ts";
import { type Minted, mint } from "../../../scripts/torture/stage/minted.ts";
import { type Served, serve } from "./served.ts";

let minted: Minted;
let node: Served;
const ann = { user: "ann", device: "phone" };

beforeEach(async () => {
  minted = await mint();
  node = await serve(minted);
});
afterEach(async () => {
  await node.stop();
  minted.remove();
});

async function win(): Promise<{ token: string; pass: string }> {
  const { body } = await node.shake(ann);
  return { token: String(body["token"]), pass: String(body["pass"]) };
}

async function claims(): Promise<number> {
  const reader = await openJournalReader(minted.epochDir.node(0));
  let found = 0;
  for await (const { frame } of reader.entries()) found += frame.type === "claim" ? 1 : 0;
  await reader.close();
  return found;
}

describe("open", () => {
  it("tells packet, amount and ad, and the claim is on the disk before it does", async () => {
    const won = await win();
    const { status, body } = await node.open({ ...ann, ...won });
    expect(status).toBe(200);
    expect(body["packet"]).toMatch(/^1-0-\d+$/);
    expect(body["cents"]).toBeGreaterThan(0);
    expect(body["status"]).toBe("crediting");
    expect(node.shard.journal.durableOffset).toBe(node.shard.journal.appendedOffset);
    expect(await claims()).toBe(1);
  });

  it("again and again, at once and after a crash: the same answer, one record", async () => {
    const won = await win();
    const answers = await Promise.all(Array.from({ length: 20 }, () => node.open({ ...ann, ...won })));
    await node.crash();
    node = await serve(minted);
    answers.push(await node.open({ ...ann, ...won }));
    expect(new Set(answers.map(({ status, body }) => JSON.stringify([status, body]))).size).toBe(1);
    expect(await claims()).toBe(1);
  });

  it("refuses another user, another device, another packet's pass, a damaged pass, and none", async () => {
    const won = await win();
    const second = await node.shake({ ...ann, pass: won.pass });
    const wrong = [
      { ...ann, ...won, user: "bob" },
      { ...ann, ...won, device: "tablet" },
      { ...ann, ...won, pass: second.body["pass"] },
      { ...ann, ...won, pass: `${won.pass.slice(0, -1)}${won.pass.endsWith("A") ? "B" : "A"}` },
      { ...ann, token: won.token },
      { ...ann, ...won, user: "annp", device: "hone" },
    ];
    for (const body of wrong)
      expect(await node.open(body)).toMatchObject({ status: 403, body: { code: "not_yours" } });
    expect(await claims()).toBe(0);
  });

  it("a thief with the node's key who claims a serial first does not use up its holder's claim", async () => {
    const won = await win();
    const token = decodeToken(won.token) ?? Buffer.alloc(0);
    const { keys, scope, quotaKey, identity } = node.shard;
    const serial = tokenSerial(token);
    const made = sealToken(keys.token, scope, { serial, cents: 1, ad: 1, checksum: new Uint8Array(6) });
    const eve = { user: "eve", device: "laptop" };
    const forged = sealPass({ receipt: keys.receipt, quota: quotaKey }, eve, {
      packet: { ...identity, serial },
      won: [],
    });
    const theft = { ...eve, token: encodeToken(made), pass: forged };
    expect((await node.open(theft)).status).toBe(200);
    const [honest] = await Promise.all([node.open({ ...ann, ...won }), node.open(theft)]);
    expect(honest?.body["cents"]).toBeGreaterThan(0);
    const users = [];
    const reader = await openJournalReader(minted.epochDir.node(0));
    for await (const { frame } of reader.entries()) if (frame.type === "claim") users.push(frame.user);
    await reader.close();
    expect(users).toContain("ann");
    expect(node.shard.book.claimed).toBe(1);
  });

  it("has one opaque answer for whatever is not a token of its shard", async () => {
    const won = await win();
    const other = await serve(minted, { shard: 1 });
    const foreign = await other.shake({ user: "eve", device: "phone" });
    await other.stop();
    const flipped = Buffer.from(won.token, "base64url");
    flipped[44] = (flipped[44] ?? 0) ^ 1;
    const answers = [];
    for (const token of [
      "",
      "x",
      won.token.slice(1),
      `${won.token}=`,
      encodeToken(flipped),
      String(foreign.body["token"]),
    ])
      answers.push(await node.open({ ...ann, ...won, token }));
    expect(new Set(answers.map(({ status, body }) => JSON.stringify([status, body]))).size).toBe(1);
    expect(answers[0]).toMatchObject({ status: 400, body: { code: "invalid_token" } });
  });

  it("once the journal has failed, a second try shows the amount that the first one could not", async () => {
    const small = await mintedDisk(40);
    let broken = false;
    const disk = small.disk.copy({
      fault: ({ kind }) => (broken && kind === "datasync" ? { code: "EIO", done: "nothing" } : undefined),
    });
    const witness = new Witness();
    const fail = (what: unknown) => {
      throw what;
    };
    const world = { minted: small, random: seededRandom(1), segmentBytes: 10_000, broken: fail };
    const life = await Life.begin(disk, witness, { ...world, onFailure: () => {} });
    const packets = [await life.shake("ann"), await life.shake("bob")];
    broken = true;
    for (const packet of [...packets, ...packets])
      if (packet) await expect(life.open(packet)).rejects.toMatchObject({ code: "journal_failed" });
    expect(witness.packets).toHaveLength(2);
    expect(witness.claims).toEqual([]);
  });

  it("after expiry it is gone, but who had opened it sees it again", async () => {
    const opened = await win();
    const first = await node.open({ ...ann, ...opened });
    const late = await node.shake({ user: "bob", device: "phone" });
    node.nowMs = Date.parse("2099-01-01T00:00:00Z");
    expect((await node.open({ ...ann, ...opened })).body).toEqual(first.body);
    const bob = { user: "bob", device: "phone", token: late.body["token"], pass: late.body["pass"] };
    expect(await node.open(bob)).toMatchObject({ status: 410, body: { code: "expired" } });
    expect(await claims()).toBe(1);
  });
});
