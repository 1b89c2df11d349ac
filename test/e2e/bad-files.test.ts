import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAll, run, startNode } from "./cli.ts";
import { expectRefusal } from "./refusals.ts";
import { KEYS, NODE, RECONCILE, REPLAY, type Scene, SEEDS, Stage, shakeAndOpen } from "./stage.ts";

/**
 * Manifests, signatures, seeds and keys that are missing, damaged or somebody else's: the node refuses, says why,
 * changes nothing, and when the fault is gone nothing was lost.
 */
const MANIFEST = `${SEEDS}/manifest.json`;
const SIGNATURE = `${SEEDS}/manifest.operator.sig`;
const SEED = `${SEEDS}/shard-0000.seed`;
const KEY = `${KEYS}/node-0000.key`;
const SETTLEMENT = `${KEYS}/settlement.key`;
const OTHER_KEY = "B".repeat(43).replace(/.$/, "A");

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.play();
});
afterAll(async () => {
  await killAll();
  stage.remove();
});

type Row = readonly [fault: string, spoil: (scene: Scene) => void, sentence: RegExp];

const MANIFEST_ROWS: readonly Row[] = [
  ["missing", (s) => s.remove(MANIFEST), /campaign gala has no complete epoch 1 under .*, or set SEEDS_DIR/],
  ["cut off", (s) => s.cut(MANIFEST, 500), /manifest\.json is damaged: it is not JSON; fetch it again/],
  [
    "flipped in a name",
    (s) => s.replace(MANIFEST, "Tea", "Tee"),
    /manifest\.operator\.sig is not the operator's signature over this manifest: fetch/,
  ],
  [
    "flipped in a sum",
    (s) => s.replace(MANIFEST, '"budgetCents":4000', '"budgetCents":4001'),
    /contradicts itself, .*: fetch it again/,
  ],
  [
    "of the next epoch",
    (s) => s.copy("seeds/gala/e2/manifest.json", MANIFEST),
    /is the manifest of gala epoch 2 and lies in the wrong place: fetch the right one/,
  ],
  [
    "of another campaign",
    (s) => s.copy("seeds/other/e1/manifest.json", MANIFEST),
    /is the manifest of other epoch 1 and lies in the wrong place/,
  ],
];

const SIGNATURE_ROWS: readonly Row[] = [
  [
    "missing",
    (s) => s.remove(SIGNATURE),
    /not signed by the operator .* is missing\): fetch it, or finish the mint with/,
  ],
  [
    "damaged",
    (s) => s.flip(SIGNATURE, 10),
    /is not the operator's signature over this manifest: fetch the manifest and its signatures again/,
  ],
  [
    "rubbish",
    (s) => s.write(SIGNATURE, Buffer.alloc(300, 0xee)),
    /is not the operator's signature over this manifest/,
  ],
  [
    "of another key",
    (s) => s.copy("seeds/other/e1/manifest.operator.sig", SIGNATURE),
    /is not the operator's signature over this manifest/,
  ],
];

const SEED_ROWS: readonly Row[] = [
  ["missing", (s) => s.remove(SEED), /the seed file .*shard-0000\.seed does not exist: check the path/],
  ["cut off", (s) => s.cut(SEED, 300), /has 300 bytes, the manifest says \d+: fetch the shard again/],
  [
    "flipped in its magic",
    (s) => s.flip(SEED, 0),
    /is not a seed file of this version: fetch the shard again/,
  ],
  [
    "flipped in its hashes",
    (s) => s.flip(SEED, 50),
    /is damaged: its hashes do not build the manifest's root; fetch the shard again/,
  ],
  [
    "flipped in its last token",
    (s) => s.flip(SEED, -1),
    /is damaged in block 0 of ad 2 \(byte \d+\): fetch the shard again/,
  ],
  [
    "the other shard's",
    (s) => s.copy(`${SEEDS}/shard-0001.seed`, SEED),
    /belongs to epoch 1, shard 1, not to epoch 1, shard 0: fetch the right one/,
  ],
  [
    "the next epoch's",
    (s) => s.copy("seeds/gala/e2/shard-0000.seed", SEED),
    /belongs to epoch 2, shard 0, not to epoch 1, shard 0/,
  ],
  [
    "another campaign's",
    (s) => s.copy("seeds/other/e1/shard-0000.seed", SEED),
    /belongs to another campaign, epoch 1, shard 0/,
  ],
];

const KEY_ROWS: readonly Row[] = [
  ["missing", (s) => s.remove(KEY), /the node key file .*node-0000\.key does not exist: .* check KEYS_DIR/],
  [
    "of the other shard",
    (s) => s.copy(`${KEYS}/node-0001.key`, KEY),
    /holds no key (of|for) shard 0: install/,
  ],
  [
    "of the next epoch",
    (s) => s.copy("keys/gala/e2/node-0000.key", KEY),
    /node-0000\.key .* gala \(test\) epoch 2, not .* gala \(test\) epoch 1: install/,
  ],
  [
    "of another campaign",
    (s) => s.copy("keys/other/e1/node-0000.key", KEY),
    /node-0000\.key .* other \(test\) epoch 1, not .* gala \(test\) epoch 1: install/,
  ],
  [
    "a settlement key",
    (s) => s.copy(SETTLEMENT, KEY),
    /is not a valid node key file \(.*\): install the right one/,
  ],
  ["cut off", (s) => s.cut(KEY, 200), /is not a node key file, it is not JSON: install it again/],
  ["binary", (s) => s.write(KEY, Buffer.alloc(99, 0xfe)), /is not a node key file, it is not JSON/],
  [
    "with a short key",
    (s) => s.replace(KEY, /"key":"\w{5}/, '"key":"'),
    /is not a valid node key file \(shards\.0\.key\)/,
  ],
  [
    "with a flipped bit in the key",
    (s) => s.replace(KEY, /"key":"[\w-]{43}"/, `"key":"${OTHER_KEY}"`),
    /node-0000\.key is damaged, its check does not hold: install the node key file again/,
  ],
  [
    "for the right mint, with the key of another",
    (s) => s.rewriteKey("node", KEY, (file) => ({ ...file, shards: [{ shard: 0, key: OTHER_KEY }] })),
    /the node's key does not open the tokens of shard 0: install the right key file/,
  ],
  [
    "with another operator",
    (s) => s.rewriteKey("node", KEY, (file) => ({ ...file, publicKeys: { operator: OTHER_KEY } })),
    /is not the operator's signature over this manifest/,
  ],
];

/** The fault, the refusal, and no trace of it: with the fault taken away every byte is as it was. */
async function refusedAndMended(args: readonly string[], spoil: Row[1], sentence: RegExp): Promise<void> {
  const scene = stage.scene();
  spoil(scene);
  const before = scene.fingerprint();
  const ended = await run(args, { cwd: scene.dir });
  expectRefusal(ended, 2, sentence, [...stage.secrets, OTHER_KEY]);
  expect(scene.fingerprint()).toEqual(before);
  scene.restore();
  expect(scene.fingerprint()).toEqual(stage.fingerprint);
}

const SERVE = ["node", ...NODE, "--port", "0"];

/** Node, worker and finance read the manifest with the same code: each takes every third fault. */
function inTurn(rows: readonly Row[]): [string, readonly string[], Row[1], RegExp][] {
  return rows.map(([fault, spoil, sentence], i) => {
    const args = [SERVE, REPLAY, RECONCILE][i % 3] ?? SERVE;
    return [fault, args, spoil, sentence];
  });
}

describe.concurrent("node, worker and finance refuse a manifest that is", () => {
  it.each(inTurn(MANIFEST_ROWS))("%s", async (_fault, args, spoil, sentence) => {
    await refusedAndMended(args, spoil, sentence);
  });
});

describe.concurrent("node, worker and finance refuse a signature that is", () => {
  it.each(inTurn(SIGNATURE_ROWS))("%s", async (_fault, args, spoil, sentence) => {
    await refusedAndMended(args, spoil, sentence);
  });
});

describe.concurrent("a node refuses a seed file that is", () => {
  it.each(SEED_ROWS)("%s", async (_fault, spoil, sentence) => {
    await refusedAndMended(SERVE, spoil, sentence);
  });
});

describe.concurrent("a node refuses a key that is", () => {
  it.each(KEY_ROWS)("%s", async (_fault, spoil, sentence) => {
    await refusedAndMended(SERVE, spoil, sentence);
  });
});

describe("once every fault is gone", () => {
  it("the node serves where it left off, and nothing was lost", async () => {
    const scene = stage.scene();
    for (const [, spoil] of [...MANIFEST_ROWS, ...SIGNATURE_ROWS, ...SEED_ROWS, ...KEY_ROWS]) {
      spoil(scene);
      scene.restore();
    }
    const { node, url } = await startNode([...NODE, "--open-now"], { cwd: scene.dir });
    await shakeAndOpen(url, "a-new-user");
    expect(await node.stop()).toBe(0);
    await scene.expectNothingLost({ opened: 1 });
  });
});
