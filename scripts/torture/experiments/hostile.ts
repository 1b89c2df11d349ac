/**
 * Strangers against one node, each attack with honest users beside it. The short form makes a handful of small
 * attacks all at once; all attacks are made one by one, in full numbers, and timed against the calm just before. What
 * is timed is the node, and a shared disk may stall for 80 ms: with TMPDIR=/dev/shm there is none.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Experiment, Violations } from "../experiment.ts";
import { Assault } from "../hostile/assault.ts";
import { ATTACKS, type Attack, type Hold } from "../hostile/attacks.ts";
import { HonestCrowd } from "../hostile/honest-crowd.ts";
import { percentile, type Round, Watch, Yardstick } from "../hostile/yardstick.ts";
import { seededRandom } from "../random.ts";
import { type Minted, mint } from "../stage/minted.ts";
import { openFiles, residentBytes } from "../stage/process-watch.ts";
import { hongbao, Program } from "../stage/program.ts";
import { until } from "../stage/until.ts";

/** SECURITY.md's limits: so many connections at 40 KiB each while they are slow, and so many show configs. */
const HELD_BYTES_MAX = 8_192 * 40 * 1024 + 64 * 256 * 1024;
/** A node remembers each answer until the campaign expires. */
const REMEMBERED_BYTES_PER_PACKET = 1536;
/** Connections of honest users, and whatever else a program opens by itself. */
const FILES_SPARE = 40;
/** The attackers are gone: the node need only notice. */
const FILES_BACK_MS_MAX = 5_000;
const SLOWDOWN_MAX = 2;
/** A machine's moods may weigh more than the attack: the more rounds, the less they do. */
const ROUNDS_MAX = 12;
const CALM_MS = 3_000;
const FIRST_CALMS = 5;
const ATTACK_SECONDS = 4;
/** More sockets would be a test of the machine: attacker, node and honest users share it. */
const SOCKETS_PER_SECOND_MAX = 2_000;
/** As many requests as the honest users make, and a hundred times their bytes: more is a flood, the gateway's to stop. */
const VISITS_PER_SECOND_MAX = 400;
const BYTES_PER_SECOND_MAX = 16 * 1024 * 1024;
const SHORT_SECONDS = 1;
/** Those that take longest to be got rid of are for the long run. */
const SHORT_FREE_MS_MAX = 15_000;
const WATCH_MS = 50;

export const experiment: Experiment = {
  claim:
    "hostile clients cost honest ones no wrong answer and at most twice their usual time, and the node bounded memory and files",
  trials: { unit: "attacks", short: 8, full: ATTACKS.length },
  run: async ({ trials, seed, note }) => {
    const violations = new Violations();
    const isFull = trials >= ATTACKS.length;
    const minted = await mint({ packets: isFull ? 2_000_000 : 20_000, budgetCents: 20_000_000, shards: 1 });
    const scene = await Scene.open(minted, violations);
    try {
      const figures = isFull
        ? await oneByOne(scene, note)
        : await allAtOnce(scene, chosen(trials, seed), note);
      await scene.close();
      return {
        trials: Math.min(trials, ATTACKS.length),
        violations,
        figures: { ...figures, ...scene.figures },
      };
    } finally {
      await scene.abandon();
      minted.remove();
    }
  },
};

function chosen(trials: number, seed: number): readonly Attack[] {
  const quick = ATTACKS.filter((attack) => attack.kind === "visit" || attack.freeMsMax <= SHORT_FREE_MS_MAX);
  return seededRandom(seed).shuffled(quick).slice(0, trials);
}

async function allAtOnce(scene: Scene, attacks: readonly Attack[], note: (text: string) => void) {
  note(attacks.map(({ name }) => name).join(", "));
  await sleep(SHORT_SECONDS * 1000);
  const calmP99Ms = percentile(0.99, scene.crowd.takeLatenciesMs());
  const assaults = await Promise.all(attacks.map((attack) => scene.prepare(attack, "short", SHORT_SECONDS)));
  // A deaf socket is known to be gone by the node's files alone, and those are everybody's.
  const freeMsMax = Math.max(...attacks.map((attack) => (attack.kind === "hold" ? attack.freeMsMax : 0)));
  await Promise.all(assaults.map((assault) => scene.withstand(assault, async () => {}, freeMsMax)));
  const attackedP99Ms = percentile(0.99, scene.crowd.takeLatenciesMs());
  await scene.expectFilesBack("all of them", FILES_BACK_MS_MAX);
  return { calmP99Ms, attackedP99Ms };
}

async function oneByOne(scene: Scene, note: (text: string) => void) {
  // One of them is called __proto__.
  const byAttack = new Map<string, object>();
  const unjudged: string[] = [];
  const yardstick = new Yardstick(() => new Watch(scene.crowd), CALM_MS);
  // The first attack is to be held against a usual calm as well, not against what the machine happens to do.
  for (let i = 0; i < FIRST_CALMS; i++) await yardstick.calm();
  for (const attack of ATTACKS) {
    const rounds: Round[] = [];
    let met = { sockets: 0, begunMs: 0 };
    const isJudged = () => yardstick.isSettled(rounds) && yardstick.slowdown(rounds).ratio <= SLOWDOWN_MAX;
    while (rounds.length < ROUNDS_MAX && !isJudged()) {
      const assault = await scene.prepare(attack, "full", ATTACK_SECONDS);
      // Sockets that are held are measured also with all of them there; then their time runs out.
      const heldMs = attack.kind === "hold" ? CALM_MS : 0;
      const calm = await yardstick.calm(1000 * assault.seconds + heldMs);
      const watch = new Watch(scene.crowd);
      const report = await scene.withstand(assault, async () => {
        await sleep(heldMs);
        rounds.push({ calm, attacked: watch.end() });
      });
      await scene.expectFilesBack(attack.name, FILES_BACK_MS_MAX);
      met = { sockets: report.openMax, begunMs: report.begunMs };
      const [p99sMs] = yardstick.slowdown(rounds.slice(-1)).p99sMs;
      note(
        `${attack.name}, calm and attacked: ${p99sMs ? `${p99sMs.join(" and ")} ms` : "not quiet enough"}`,
      );
    }
    const slowdown = yardstick.slowdown(rounds);
    const figures = { ...slowdown, ...met, memoryGrowthMiB: scene.figures.memoryGrowthMiB };
    byAttack.set(attack.name, figures);
    note(`${attack.name}: ${JSON.stringify(figures)}`);
    if (!yardstick.isSettled(rounds)) unjudged.push(attack.name);
    else
      scene.violations.expect(
        slowdown.ratio <= SLOWDOWN_MAX,
        `${attack.name}: honest users wait ${slowdown.ratio} times as long`,
      );
  }
  scene.violations.expect(
    unjudged.length === 0,
    `the machine's neighbours took too much of it to judge ${unjudged.length} attacks by: run it when it is quiet`,
  );
  return { byAttack: Object.fromEntries(byAttack), unjudged, calms: yardstick.calms };
}

/** One node and its honest users. */
class Scene {
  readonly node: Program;
  readonly crowd: HonestCrowd;
  readonly violations: Violations;
  private readonly minted: Minted;
  private readonly port: number;
  private readonly calmBytes: number;
  private readonly calmFiles: number;
  private readonly watch: NodeJS.Timeout;
  private bytesMax = 0;
  private filesMax = 0;

  private constructor(
    minted: Minted,
    violations: Violations,
    node: Program,
    port: number,
    crowd: HonestCrowd,
  ) {
    this.minted = minted;
    this.violations = violations;
    this.node = node;
    this.port = port;
    this.crowd = crowd;
    this.calmBytes = residentBytes(node.pid);
    this.calmFiles = openFiles(node.pid);
    // All the time: what it costs to look must not be taken for the attack.
    this.watch = setInterval(() => this.look(), WATCH_MS);
  }

  static async open(minted: Minted, violations: Violations): Promise<Scene> {
    const args = [
      "node",
      "--campaign",
      minted.campaign,
      "--shard",
      "0",
      "--port",
      "0",
      "--open-now",
      "--json",
    ];
    const node = new Program(args, environment(minted));
    const { url } = JSON.parse(await node.start()) as { url: string };
    const port = Number(new URL(url).port);
    const crowd = new HonestCrowd(port);
    await until(() => crowd.opened.size > 200, 20_000);
    return new Scene(minted, violations, node, port, crowd);
  }

  get figures() {
    return {
      honestPackets: this.crowd.opened.size,
      memoryGrowthMiB: Math.round((this.bytesMax - this.calmBytes) / 2 ** 20),
      memoryBoundMiB: Math.round(this.growthBytesMax / 2 ** 20),
      filesMax: this.filesMax,
    };
  }

  private get growthBytesMax(): number {
    return HELD_BYTES_MAX + this.crowd.opened.size * REMEMBERED_BYTES_PER_PACKET;
  }

  async prepare(attack: Attack, form: "short" | "full", seconds: number): Promise<Assault> {
    const count = attack.kind === "hold" ? attack.sockets[form] : attack.visits[form];
    const perSecondMax = attack.kind === "hold" ? holdsPerSecondMax(attack) : VISITS_PER_SECOND_MAX;
    return await Assault.prepare(attack, count, this.port, Math.max(seconds, count / perSecondMax));
  }

  /**
   * Lets an attack loose and sees to it that the node is rid of it. `atHeight` is called when all of it is there.
   * @param freeMsMax until the node has its files back, if others attack it at the same time
   */
  async withstand(assault: Assault, atHeight: () => Promise<void>, freeMsMax?: number) {
    const { attack } = assault;
    const startedMs = performance.now();
    const { begun, free } = assault.begin();
    await begun;
    const begunMs = performance.now() - startedMs;
    await atHeight();
    if (attack.kind === "hold") await this.expectFree(attack, free, freeMsMax);
    const report = await assault.end();
    const allowed = attack.kind === "hold" ? [] : attack.answers;
    for (const [ending, n] of Object.entries(report.endings))
      this.violations.expect(allowed.includes(ending), `${attack.name}: ${n} visits ended with ${ending}`);
    return { ...report, begunMs: Math.round(begunMs) };
  }

  /** Honest users leave, the node stops, and its books are held against what they saw. */
  async close(): Promise<void> {
    await this.crowd.leave();
    clearInterval(this.watch);
    for (const wrong of this.crowd.wrong) this.violations.add(wrong);
    const growth = this.bytesMax - this.calmBytes;
    const most = this.growthBytesMax;
    this.violations.expect(growth <= most, `memory grew by ${growth} bytes, more than ${most}`);
    const code = await this.node.stop();
    this.violations.expect(code === 0, `the node ended with ${code}: ${this.node.stderr.slice(-500)}`);
    const books = await hongbao(["reconcile", this.minted.campaign, "--json"], environment(this.minted));
    const { balanced, opened } = JSON.parse(books.stdout || "{}") as {
      balanced?: boolean;
      opened?: { packets: number };
    };
    this.violations.expect(balanced === true, `the books do not balance: ${books.stdout}${books.stderr}`);
    this.violations.expect(
      opened?.packets === this.crowd.opened.size,
      `${this.crowd.opened.size} packets were opened, the books say ${opened?.packets}`,
    );
  }

  /** Whatever state it is in. */
  async abandon(): Promise<void> {
    clearInterval(this.watch);
    await this.node.kill();
    await this.crowd.leave();
  }

  private look(): void {
    try {
      this.bytesMax = Math.max(this.bytesMax, residentBytes(this.node.pid));
      this.filesMax = Math.max(this.filesMax, openFiles(this.node.pid));
    } catch {
      this.violations.add(`the node is gone: ${this.node.stderr.slice(-500)}`);
    }
  }

  /** A socket that is not read from does not hear that it was closed: only the node's files tell. */
  private async expectFree({ name, deaf, freeMsMax }: Hold, free: Promise<unknown>, filesMsMax = freeMsMax) {
    if (deaf) return await this.expectFilesBack(name, filesMsMax);
    const late = sleep(freeMsMax, "late" as const, { ref: false });
    this.violations.expect(
      (await Promise.race([free, late])) !== "late",
      `${name}: not all closed after ${freeMsMax} ms`,
    );
  }

  async expectFilesBack(name: string, msMax: number): Promise<void> {
    const limit = this.calmFiles + FILES_SPARE;
    await until(() => openFiles(this.node.pid) <= limit, msMax).catch(() => {
      this.violations.add(`${name}: still ${openFiles(this.node.pid)} files after ${msMax} ms`);
    });
  }
}

function holdsPerSecondMax({ first }: Hold): number {
  return Math.min(SOCKETS_PER_SECOND_MAX, BYTES_PER_SECOND_MAX / (first.length + 1));
}

function environment(minted: Minted): Record<string, string> {
  const { seedsDir, keysDir, dataDir } = minted.roots;
  return { SEEDS_DIR: seedsDir, KEYS_DIR: keysDir, DATA_DIR: dataDir };
}
