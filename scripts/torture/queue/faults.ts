/**
 * What can befall a queue and its worker, one after another. Each fault makes sure that it happened (a kill that
 * nobody noticed proves nothing), and leaves everything up and reachable.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { SeededRandom } from "../random.ts";
import { until } from "../stage/until.ts";
import { drainBacklog } from "./backlog.ts";
import type { Scene } from "./scene.ts";
import { active, collect, deliver, waiting } from "./waiting.ts";

/** A fault that has not happened after this long never will. */
const HAPPEN_MS_MAX = 120_000;
/** Longer than BullMQ's lock of a job and two of its looks for stalled ones: another worker takes it over. */
const TAKEOVER_MS_MAX = 40_000;
const TIMES = 10;
const WORKERS = 8;
const BATCHES_MIN = 8;
const GATHER_MS_MAX = 10_000;

type Fault = (scene: Scene, random: SeededRandom) => Promise<void>;

export const FAULTS: Readonly<Record<string, Fault>> = {
  /** Everything in it is gone. */
  "redis-killed": async ({ show }, random) => {
    await show.redis.kill();
    show.forgetRedis();
    await sleep(200 + random.below(800));
    await show.startRedis();
  },

  "redis-flushed": async ({ show }, random) => {
    for (let flush = 1 + random.below(3); flush > 0; flush--) {
      await show.redis.flush();
      await sleep(random.below(200));
    }
  },

  /** Jobs that were credited long ago wait again, and jobs and events of after the copy never were. */
  "redis-restored": async (scene, random) => {
    const { show } = scene;
    show.workerNetwork.silence();
    await until(async () => (await waiting(show)) > 0, HAPPEN_MS_MAX);
    const copy = show.copyOfRedis();
    show.workerNetwork.heal();
    await scene.nextCredits(20 + random.below(40));
    await show.redis.kill();
    show.restoreRedis(copy);
    await show.startRedis();
    scene.happened.jobsBack += (await waiting(show)) + (await active(show)).length;
  },

  /** noeviction, as BullMQ demands: what would take memory is refused, jobs and results alike. */
  "redis-out-of-memory": async ({ show, happened }, random) => {
    const { redis } = show;
    await redis.ask((client) => client.config("SET", "maxmemory", "1"));
    await sleep(300 + random.below(1200));
    const refusal = await redis.ask((client) => client.set("probe", "1").catch((error: Error) => error));
    if (!(refusal instanceof Error && refusal.message.startsWith("OOM")))
      throw new Error(`Redis was to be out of memory, and said ${String(refusal)}`);
    happened.outOfMemory++;
    await redis.ask((client) => client.config("SET", "maxmemory", "0"));
  },

  /** Both ways, of nodes and worker: in the middle of a command, of an answer, of an event. */
  "cut-mid-frame": async ({ show, happened }, random) => {
    const networks = random.shuffled([show.nodeNetwork, show.workerNetwork]);
    for (const network of networks)
      for (const direction of random.shuffled(["to-server", "to-client"] as const)) {
        const cut = network.cutMidFrame(direction, random.below(1000) / 1000);
        await Promise.race([cut, late(`no piece ${direction} to cut`)]);
        happened.cuts++;
      }
  },

  slow: async ({ show }, random) => {
    const slowness = { delayMs: 50 + random.below(300), bytesPerSecond: 5_000 + random.below(50_000) };
    for (const network of [show.nodeNetwork, show.workerNetwork]) network.slow(slowness);
    await sleep(1_000 + random.below(1_000));
    for (const network of [show.nodeNetwork, show.workerNetwork]) network.heal();
  },

  /** Takes everything, passes nothing: sometimes for longer than a call may take. */
  silent: async ({ show }, random) => {
    const networks = [show.nodeNetwork, show.workerNetwork].filter(() => random.chance(0.7));
    for (const network of networks) network.silence();
    await sleep(random.chance(0.05) ? 7_000 : 500 + random.below(1_000));
    for (const network of networks) network.heal();
  },

  /** Claims pile up until another one comes. */
  "worker-killed": async (scene) => {
    const { show } = scene;
    await show.worker.kill();
    show.worker = show.newWorker();
    await drainBacklog(scene, show.worker);
  },

  /** Its job is another worker's when it wakes up, in the middle of it. */
  "worker-paused": async (scene, random) => {
    const { show } = scene;
    const [paused, second] = [show.worker, show.newWorker()];
    const job = await pauseWithJob(scene);
    await show.startWorker(second);
    const isTaken = async () => !(await active(show)).includes(job);
    await until(isTaken, TAKEOVER_MS_MAX).then(
      () => scene.happened.takeovers++,
      // It was paused in the middle of a transaction, and nobody credits anything before it goes on.
      () => scene.happened.pausedInTransaction++,
    );
    process.kill(paused.pid, "SIGCONT");
    await sleep(200 + random.below(500));
    const [stays, goes] = random.shuffled([paused, second]);
    if (stays === undefined || goes === undefined) return;
    await goes.kill();
    show.worker = stays;
  },

  /** Whatever the queue holds, ten times, in no order, to eight workers at once. */
  "ten-times": async (scene, random) => {
    const { show } = scene;
    await show.worker.kill();
    // Fewer, if a node has just been asking which ledger is there.
    await until(async () => (await waiting(show)) >= BATCHES_MIN, GATHER_MS_MAX).catch(() => {});
    const batches = await collect(show);
    // So that the eight meet each batch for the first time ten at a time.
    await show.redis.flush();
    const workers = Array.from({ length: WORKERS }, () => show.newWorker());
    // One after another: eight programs that start at once are a fault of the machine's own.
    for (const worker of workers) await show.startWorker(worker);
    await deliver(show, batches, TIMES, random);
    scene.happened.redelivered += batches.length * TIMES;
    await until(async () => (await waiting(show)) === 0, HAPPEN_MS_MAX);
    const [stays, ...others] = random.shuffled(workers);
    await Promise.all(others.map((worker) => worker.kill()));
    if (stays) show.worker = stays;
  },
};

/** @returns the job that the paused worker holds */
async function pauseWithJob({ show }: Scene): Promise<string> {
  const { pid } = show.worker;
  return await until(
    async () => {
      process.kill(pid, "SIGSTOP");
      const [job] = await active(show);
      if (job === undefined) process.kill(pid, "SIGCONT");
      return job;
    },
    HAPPEN_MS_MAX,
    5,
  );
}

async function late(what: string): Promise<never> {
  await sleep(HAPPEN_MS_MAX, undefined, { ref: false });
  throw new Error(what);
}
