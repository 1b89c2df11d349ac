import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Minted, mint } from "../../../scripts/torture/stage/minted.ts";
import { type Served, serve } from "./served.ts";

let minted: Minted;
let served: Served;

beforeEach(async () => {
  minted = await mint();
  served = await serve(minted);
});
afterEach(async () => {
  await served.stop();
  minted.remove();
});

async function shakes(): Promise<number> {
  const { text } = (await served.get("/metrics")).body;
  return Number(/^hongbao_shakes_total\{outcome="packet".*\} (\d+)$/m.exec(String(text))?.[1] ?? 0);
}

describe("/metrics", () => {
  it("a flood of scrapes is one scrape a second: what it tells is at most that old", async () => {
    expect(await Promise.all([shakes(), shakes()])).toEqual([0, 0]);
    await served.shake({ user: "ann", device: "phone" });
    served.nowMs += 999;
    expect(await shakes()).toBe(0);
    served.nowMs += 1;
    expect(await shakes()).toBe(1);
  });
});
