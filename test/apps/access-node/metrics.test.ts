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

async function read(name: string): Promise<number> {
  const { text } = (await served.get("/metrics")).body;
  return Number(new RegExp(`^${name}\\{.*\\} ([-\\d.e]+)$`, "m").exec(String(text))?.[1] ?? 0);
}

describe("/metrics", () => {
  it("counts what happened a moment ago", async () => {
    expect(await read("hongbao_shakes_total")).toBe(0);
    await served.shake({ user: "ann", device: "phone" });
    expect(await read("hongbao_shakes_total")).toBe(1);
  });

  it("a flood of scrapes looks at the process and the queue once a second", async () => {
    const first = await read("process_cpu_seconds_total");
    for (let i = 0; i < 200; i++) await served.shake({ user: "ann", device: `phone-${i}` });
    served.nowMs += 999;
    expect(await read("process_cpu_seconds_total")).toBe(first);
    served.nowMs += 1;
    expect(await read("process_cpu_seconds_total")).toBeGreaterThan(first);
  });
});
