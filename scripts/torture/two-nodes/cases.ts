/**
 * All the ways to come by a second node for a shard, or a node with the wrong journal: by accident, by a backup,
 * by somebody who means well. The right node and its audience must never notice.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { mintInto } from "../stage/minted.ts";
import { until } from "../stage/until.ts";
import { Audience } from "./audience.ts";
import { Machine, type Start } from "./machine.ts";
import { NO_WORD, type Scene } from "./scene.ts";

const OTHER_JOURNAL = /the ledger knows another journal of this shard/;
const OLDER_COPY = /this is an older copy/;
const NO_JOURNAL = /there is no journal in/;
const FOREIGN = /belongs to epoch \d+, shard \d+/;
const OWNED = /is served from journal \w+ .* but the journal in/;
const OTHER_SEEDS = /hand-outs .* other seeds/;
const LOG_MS_MAX = 20_000;
const NO_QUEUE = {};

type Case = (scene: Scene) => Promise<void>;

export const CASES: Readonly<Record<string, Case>> = {
  "second-process": async (scene) => {
    const { url } = await scene.serve(NO_QUEUE);
    const second = await scene.begin(scene.first, NO_QUEUE);
    await scene.expectRefusal(second, "locked", /in use by another process/);
    await scene.audience.visit(url, scene.few());
  },

  "other-data-directory": async (scene) => {
    const { url } = await scene.serve(NO_QUEUE);
    const other = scene.keep(Machine.empty(scene.first.campaign));
    const { SEEDS_DIR = "", KEYS_DIR = "" } = scene.first.environment;
    const second = await scene.begin(other, { SEEDS_DIR, KEYS_DIR });
    await scene.expectRefusal(second, "owned_elsewhere", NO_JOURNAL);
    await scene.audience.visit(url, scene.few());
  },

  "copied-with-owner-record": async (scene) => {
    const { url } = await scene.serve(NO_QUEUE);
    const other = scene.keep(scene.first.copy(["seeds", "keys"]));
    await scene.expectRefusal(await scene.begin(other, NO_QUEUE), "owned_elsewhere", NO_JOURNAL);
    await scene.audience.visit(url, scene.few());
  },

  /** The copies were made before either node was started. */
  "copied-without-owner-record": async (scene) => {
    const other = scene.keep(scene.first.copy(["seeds", "keys"]));
    const { url } = await serveWithLedger(scene);
    await scene.expectRefusal(await scene.begin(other, scene.queue), "owned_elsewhere", OTHER_JOURNAL);
    await scene.audience.visit(url, scene.few());
  },

  "copied-and-no-ledger": async (scene) => {
    const other = scene.keep(scene.first.copy(["seeds", "keys"]));
    await serveWithLedger(scene);
    await scene.killWorker();
    const second = await beginBlind(scene, other);
    await scene.startWorker();
    await scene.expectStop(second, OTHER_JOURNAL);
  },

  "restored-data": async (scene) => {
    const putBack = await restoreOlder(scene);
    await scene.expectRefusal(await scene.begin(scene.first, scene.queue), "owned_elsewhere", OLDER_COPY);
    // Whoever starts it again and again gets no other answer: what it has written meanwhile does not count.
    await scene.expectRefusal(await scene.begin(scene.first, scene.queue), "owned_elsewhere", OLDER_COPY);
    putBack();
    await scene.serve(scene.queue);
  },

  "restored-and-no-ledger": async (scene) => {
    const putBack = await restoreOlder(scene);
    await scene.killWorker();
    const second = await beginBlind(scene, scene.first);
    await scene.startWorker();
    await scene.expectStop(second, OLDER_COPY);
    putBack();
  },

  "restored-and-killed-unheard": async (scene) => {
    const putBack = await restoreOlder(scene);
    await scene.killWorker();
    const second = await beginBlind(scene, scene.first);
    await second.program.kill();
    await scene.startWorker();
    await scene.expectRefusal(await scene.begin(scene.first, scene.queue), "owned_elsewhere", OLDER_COPY);
    putBack();
  },

  "journal-deleted": async (scene) => {
    const { program } = await scene.serve(NO_QUEUE);
    await program.stop();
    const putBack = scene.first.setAside("data");
    await scene.expectRefusal(await scene.begin(scene.first, NO_QUEUE), "owned_elsewhere", NO_JOURNAL);
    putBack();
  },

  /** The journal is there: the shard is claimed for it again, and nothing is forgotten. */
  "owner-record-deleted": async (scene) => {
    const { program } = await scene.serve(NO_QUEUE);
    await program.kill();
    rmSync(scene.first.epochDir.owner(0));
    await scene.serve(NO_QUEUE);
    const other = scene.keep(scene.first.copy(["seeds", "keys"]));
    await scene.expectRefusal(await scene.begin(other, NO_QUEUE), "owned_elsewhere", NO_JOURNAL);
  },

  "journal-and-owner-record-deleted": async (scene) => {
    const { program } = await serveWithLedger(scene);
    await program.stop();
    rmSync(scene.first.epochDir.owner(0));
    const putBack = scene.first.setAside("data");
    await scene.expectRefusal(await scene.begin(scene.first, scene.queue), "owned_elsewhere", OTHER_JOURNAL);
    rmSync(scene.first.epochDir.owner(0));
    putBack();
    await scene.serve(scene.queue);
  },

  "journal-of-another-shard": async (scene) => {
    const { url, program } = await scene.begin(scene.first, NO_QUEUE, 1);
    await new Audience("donor").visit(url, scene.few());
    await program.stop();
    await adopt(scene, scene.first.epochDir.node(1), FOREIGN);
  },

  "journal-of-another-epoch": async (scene) => {
    const donor = scene.keep(scene.first.copy(["keys"]));
    mkdirSync(join(donor.roots.seedsDir, donor.campaign, "e1"), { recursive: true });
    await mintInto(donor.dir, { campaign: donor.campaign });
    await adoptFrom(scene, donor, FOREIGN);
  },

  "journal-of-another-campaign": async (scene) => {
    const donor = scene.keep(Machine.empty(`${scene.first.campaign}-other`));
    await mintInto(donor.dir, { campaign: donor.campaign });
    await adoptFrom(scene, donor, FOREIGN);
  },

  /** It was served twice for a while, without a ledger; then the wrong journal is kept. */
  "journal-of-a-second-node": async (scene) => {
    const donor = scene.keep(scene.first.copy(["seeds", "keys"]));
    await adoptFrom(scene, donor, OWNED);
  },

  /** The same master key makes the same packets, wherever and how often. */
  "minted-again": async (scene) => {
    const { url } = await serveWithLedger(scene);
    const other = scene.keep(scene.first.copy(["keys"]));
    rmSync(other.epochDir.keysDir, { recursive: true });
    await mintInto(other.dir, { campaign: other.campaign });
    const [seeds, again] = [scene.first, other].map(({ epochDir }) => readFileSync(epochDir.seed(0)));
    scene.expect(seeds?.equals(again ?? Buffer.alloc(0)) === true, "the same key minted other packets");
    await scene.expectRefusal(await scene.begin(other, scene.queue), "owned_elsewhere", OTHER_JOURNAL);
    await scene.audience.visit(url, scene.few());
  },

  /** Other packets under the same numbers: no worker of the first mint credits them, and nobody vouches. */
  "minted-again-with-another-key": async (scene) => {
    const { url } = await serveWithLedger(scene);
    const other = scene.keep(Machine.empty(scene.first.campaign));
    await mintInto(other.dir, { campaign: other.campaign });
    await beginBlind(scene, other);
    const worker = scene.newWorker(other);
    const { error } = JSON.parse(await worker.start()) as { error: { code: string } };
    scene.expect(error.code === "ledger_mismatch", `its worker was refused with ${error.code}`);
    scene.expect((await worker.ended()) === 2, "its worker did not end with exit code 2");
    await scene.audience.visit(url, scene.few());
  },

  /** Over the data of the first one, whose journal tells of other packets. */
  "minted-again-over-old-data": async (scene) => {
    const { program } = await scene.serve(NO_QUEUE);
    await program.kill();
    const [seedsBack, keysBack] = [scene.first.setAside("seeds"), scene.first.setAside("keys")];
    await mintInto(scene.first.dir, { campaign: scene.first.campaign });
    await scene.expectRefusal(await scene.begin(scene.first, NO_QUEUE), "owned_elsewhere", OTHER_SEEDS);
    seedsBack();
    keysBack();
    await scene.serve(NO_QUEUE);
  },
};

async function serveWithLedger(scene: Scene): Promise<Start> {
  const [started] = await Promise.all([scene.serve(scene.queue), scene.startWorker()]);
  await scene.credited();
  return started;
}

/** Starts a node that no ledger answers: it serves, and has said so. */
async function beginBlind(scene: Scene, machine: Machine): Promise<Start> {
  scene.isBlind = true;
  const started = await scene.begin(machine, scene.queue);
  await scene.strangers.visit(started.url, 12);
  await until(() => started.program.stderr.includes(NO_WORD), LOG_MS_MAX).catch(() =>
    scene.expect(false, "it did not say that no ledger has answered"),
  );
  return started;
}

/** Copies the data in any moment, goes on, and puts the copy in their place. @returns how to put the data back */
async function restoreOlder(scene: Scene): Promise<() => void> {
  const { url, program } = await serveWithLedger(scene);
  const visits = scene.audience.visit(url, scene.few() + 3);
  await sleep(scene.random.below(60));
  const copy = scene.keep(scene.first.copy(["data"]));
  await visits;
  await scene.audience.visit(url, scene.few());
  await scene.credited();
  await program.kill();
  const putBack = scene.first.setAside("data");
  cpSync(copy.roots.dataDir, scene.first.roots.dataDir, { recursive: true });
  return putBack;
}

/** A journal that the node of another machine has written. */
async function adoptFrom(scene: Scene, donor: Machine, sentence: RegExp): Promise<void> {
  const { url, program } = await scene.begin(donor, NO_QUEUE);
  await new Audience("donor").visit(url, scene.few());
  await program.stop();
  const [epoch = ""] = readdirSync(join(donor.roots.dataDir, donor.campaign));
  await adopt(scene, join(donor.roots.dataDir, donor.campaign, epoch, "node-0000"), sentence);
}

/** Puts another journal into the place of the shard's, before its node was ever started or later. */
async function adopt(scene: Scene, journal: string, sentence: RegExp): Promise<void> {
  const isNew = sentence === FOREIGN && scene.random.chance(0.5);
  if (!isNew) await (await scene.serve(NO_QUEUE)).program.stop();
  const place = scene.first.epochDir.node(0);
  const own = join(scene.first.dir, "own-journal");
  mkdirSync(place, { recursive: true });
  renameSync(place, own);
  cpSync(journal, place, { recursive: true });
  await scene.expectRefusal(await scene.begin(scene.first, NO_QUEUE), "owned_elsewhere", sentence);
  rmSync(place, { recursive: true });
  renameSync(own, place);
  if (isNew) await scene.serve(NO_QUEUE);
}
