/**
 * A backlog: claims pile up while nobody credits; then a worker comes, and opens go on all the while.
 */
import type { Program } from "../stage/program.ts";
import { until } from "../stage/until.ts";
import type { Scene } from "./scene.ts";

/** What is on its way in a quiet moment, in milliseconds of arrivals. */
const ON_ITS_WAY_MS = 500;
/** Many times what is on its way: else the drain is the time that one claim takes. */
const PILE_SECONDS = 5;
const PILE_MS_MAX = 60_000;
const DRAIN_MS_MAX = 60_000;
const LOOK_MS = 5;

/** Lets claims of some seconds pile up, starts `worker`, and measures until hardly any is left. */
export async function drainBacklog(scene: Scene, worker: Program): Promise<void> {
  const { crowd, show } = scene;
  const credited = () => show.credited();
  const small = (crowd.usersPerSecond * ON_ITS_WAY_MS) / 1000;
  await until(() => scene.backlog >= crowd.usersPerSecond * PILE_SECONDS, PILE_MS_MAX);
  const [before, backlog] = [credited(), scene.backlog];
  await show.startWorker(worker);
  await until(() => credited() > before, DRAIN_MS_MAX, LOOK_MS);
  const begun = { atMs: performance.now(), opened: crowd.opened.size };
  await until(() => scene.backlog <= small, DRAIN_MS_MAX, LOOK_MS);
  const seconds = (performance.now() - begun.atMs) / 1000;
  scene.drains.push({
    backlog,
    arrivalsPerSecond: Math.round((crowd.opened.size - begun.opened) / seconds),
    creditsPerSecond: Math.round((credited() - before) / seconds),
  });
}
