/** What the experiments learn of a program's end. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { Program } from "../../../scripts/torture/stage/program.ts";

const STREAMS_CLOSED_MS = 2_000;
/** Runs in front of the program: its streams close long before it ends. */
const SILENT_END = `
  import { closeSync } from "node:fs";
  closeSync(1);
  closeSync(2);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${STREAMS_CLOSED_MS + 2_000});
  process.exit(3);
`;

it("a program that has closed its streams has not ended yet", async () => {
  const preload = `data:text/javascript,${encodeURIComponent(SILENT_END)}`;
  const program = new Program(["doctor"], { NODE_OPTIONS: `--import=${preload}` });
  await program.start(false);
  await sleep(STREAMS_CLOSED_MS);
  expect(await program.ended()).toBe(3);
});
