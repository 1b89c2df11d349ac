import { mkdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAll, run, startNode } from "./cli.ts";
import { expectRefusal, expectTidy } from "./refusals.ts";
import {
  JOURNAL,
  NODE,
  RECONCILE,
  REPLAY,
  type Scene,
  SEEDS,
  SEGMENT,
  Stage,
  shakeAndOpen,
} from "./stage.ts";

/**
 * Journals and owner records that are damaged, gone or somebody else's. The node refuses, because another journal
 * would hand the same packets out again; finance reports and exits 3; a replay refuses. Nothing is ever cut or made
 * anew in their place.
 */
const OWNER = `${SEEDS}/shard-0000.owner`;
const SECOND = `${JOURNAL}/segment-00000001.log`;

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.play();
});
afterAll(async () => {
  await killAll();
  stage.remove();
});

interface Row {
  readonly fault: string;
  readonly spoil: (scene: Scene) => void;
  readonly node: RegExp;
  /** Class and detail of finance's finding. */
  readonly finding: readonly [name: string, detail: RegExp];
  /** What a replay says, where the journal itself is at fault. */
  readonly replay?: RegExp;
}

const ROWS: readonly Row[] = [
  {
    fault: "a journal with a damaged header",
    spoil: (s) => s.flip(SEGMENT, 20),
    node: /segment-00000000\.log has a damaged header: restore the file from a copy/,
    finding: ["corrupt", /has a damaged header/],
    replay: /has a damaged header: restore the file from a copy/,
  },
  {
    fault: "an empty journal",
    spoil: (s) => s.cut(SEGMENT, 0),
    node: /has a damaged header: restore/,
    finding: ["corrupt", /has a damaged header/],
  },
  {
    fault: "a journal damaged in the middle",
    spoil: (s) => s.flip(SEGMENT, 300),
    node: /is corrupt at byte \d+: .* had been synced; restore the file from a copy/,
    finding: ["corrupt", /is corrupt at byte \d+/],
    replay: /is corrupt at byte \d+: .*; restore the file from a copy/,
  },
  {
    fault: "a journal without its first segment",
    spoil: (s) => {
      s.copy(SEGMENT, SECOND);
      s.remove(SEGMENT);
    },
    node: /segment-00000000\.log is missing, though segment-00000001\.log is there/,
    finding: ["corrupt", /segment-00000000\.log is missing/],
    replay: /segment-00000000\.log is missing/,
  },
  {
    fault: "a journal that goes on with a segment of itself",
    spoil: (s) => s.copy(SEGMENT, SECOND),
    node: /segment-00000001\.log does not continue the journal before it: restore/,
    finding: ["corrupt", /does not continue the journal before it/],
  },
  {
    fault: "an owner record and no journal",
    spoil: (s) => s.remove(SEGMENT),
    node: /the shard is served from journal [0-9a-f]{32} .*, but there is no journal in .*: start the node with the DATA_DIR that holds that journal/,
    finding: ["missing-journal", /no journal of it was found/],
    replay: /holds no journal/,
  },
  {
    fault: "an owner record that names another journal",
    spoil: (s) => s.replace(OWNER, /"journalId":".{8}/, '"journalId":"00000000'),
    node: /the shard is served from journal 00000000.*, but the journal in .* is [0-9a-f]{32}: start the node with/,
    finding: ["corrupt", /the owner record names 00000000/],
  },
  {
    fault: "a damaged owner record",
    spoil: (s) => s.cut(OWNER, 20),
    node: /the owner record .* is damaged: find the shard's journal before anything else/,
    finding: ["corrupt", /the owner record beside the seed file is damaged/],
  },
];

describe.concurrent("neither node nor finance trusts", () => {
  it.each(ROWS)("$fault", async ({ spoil, node, finding: [name, detail], replay }) => {
    const scene = stage.scene();
    spoil(scene);
    const before = scene.fingerprint();
    const refused = await run(["node", ...NODE, "--port", "0"], { cwd: scene.dir });
    expectRefusal(refused, 1, node, stage.secrets);
    const reconciled = await run(RECONCILE, { cwd: scene.dir });
    expectTidy(reconciled, stage.secrets);
    expect(reconciled.code).toBe(3);
    expect(JSON.parse(reconciled.stdout).findings).toContainEqual(
      expect.objectContaining({ class: name, detail: expect.stringMatching(detail) }),
    );
    if (replay) {
      const replayed = await run(REPLAY, { cwd: scene.dir });
      const code = name === "missing-journal" ? 2 : 1;
      expectRefusal(replayed, code, replay, stage.secrets);
    }
    expect(scene.fingerprint()).toEqual(before);
    scene.restore();
    expect(scene.fingerprint()).toEqual(stage.fingerprint);
  });
});

describe.concurrent("a journal of somebody else", () => {
  it("is refused by node and replay, for another campaign and for another shard", async () => {
    const scene = stage.scene();
    const others = [
      ["--campaign", "other", "--shard", "0"],
      ["--campaign", "gala", "--epoch", "1", "--shard", "1"],
    ];
    for (const other of others) {
      const { node } = await startNode(other, { cwd: scene.dir });
      expect(await node.stop()).toBe(0);
    }
    for (const [foreign, shard] of [
      ["data/other/e1/node-0000", 0],
      ["data/gala/e1/node-0001", 1],
    ] as const) {
      scene.copy(`${foreign}/segment-00000000.log`, SEGMENT);
      const served = await run(["node", ...NODE, "--port", "0"], { cwd: scene.dir });
      expectRefusal(
        served,
        1,
        new RegExp(`the journal in .* belongs to epoch 1, shard ${shard}.*: set DATA_DIR right`),
      );
      const reconciled = await run(RECONCILE, { cwd: scene.dir });
      expect(reconciled.code).toBe(3);
      scene.restore();
    }
    const foreign = [...REPLAY.slice(0, -1), "data/other/e1/node-0000"];
    const replayed = await run(foreign, { cwd: scene.dir });
    expect(replayed.code).not.toBe(0);
    expectRefusal(
      replayed,
      replayed.code === 1 ? 1 : 2,
      /is the journal of shard 0, epoch 1 of another campaign or mint: leave it out/,
    );
    await scene.expectNothingLost();
  });
});

describe.concurrent("one shard, one node", () => {
  it("a second node on the same shard is refused, and the first one goes on", async () => {
    const scene = stage.scene();
    const { node, url } = await startNode([...NODE, "--open-now"], { cwd: scene.dir });
    const second = await run(["node", ...NODE, "--port", "0"], { cwd: scene.dir });
    expectRefusal(
      second,
      1,
      /shard 0 of gala is in use by another process .*: stop that one first/,
      stage.secrets,
    );
    await shakeAndOpen(url, "somebody-new");
    expect(await node.stop()).toBe(0);
    await scene.expectNothingLost({ opened: 1 });
  });

  it("a port that is taken is refused by name, and the shard is free for another port", async () => {
    const scene = stage.scene();
    const first = await startNode(NODE, { cwd: scene.dir });
    const port = new URL(first.url).port;
    const shard1 = ["--campaign", "gala", "--epoch", "1", "--shard", "1"];
    const refused = await run(["node", ...shard1, "--port", port], { cwd: scene.dir });
    expectRefusal(
      refused,
      1,
      new RegExp(`port ${port} on 127\\.0\\.0\\.1 is taken: choose another with --port`),
    );
    const refusedByEnv = await run(["node", ...shard1], { cwd: scene.dir, env: { PORT: port } });
    expectRefusal(refusedByEnv, 1, new RegExp(`port ${port} .* is taken`));
    const away = await run(["node", ...shard1, "--port", "0", "--host", "192.0.2.1"], { cwd: scene.dir });
    expectRefusal(away, 2, /cannot listen on .*192\.0\.2\.1/);
    const { node } = await startNode(shard1, { cwd: scene.dir });
    expect(await node.stop()).toBe(0);
    expect(await first.node.stop()).toBe(0);
    await scene.expectNothingLost();
  });

  it("a node's directory that cannot be one is refused", async () => {
    const scene = stage.scene();
    scene.write(JOURNAL, "a file");
    expectRefusal(
      await run(["node", ...NODE, "--port", "0"], { cwd: scene.dir }),
      2,
      /node-0000 cannot be a directory, a file is in the way/,
    );
    scene.restore();
    scene.remove(SEGMENT);
    mkdirSync(scene.at(SEGMENT));
    expectRefusal(
      await run(["node", ...NODE, "--port", "0"], { cwd: scene.dir }),
      2,
      /is a directory where a file is needed/,
    );
    scene.restore();
    await scene.expectNothingLost();
  });
});
