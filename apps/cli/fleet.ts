/**
 * A fleet: every program of a campaign as a process of its own on this machine, with the embedded queue between
 * them if no other is configured. A program that dies is started again, as a supervisor would; one that refuses
 * its configuration ends the fleet.
 */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { HongbaoError } from "../../core/format/error.ts";
import type { Roots } from "../../core/store/campaign-dir.ts";
import type { EmbeddedQueue } from "../../core/store/embedded-queue.ts";
import { EMBEDDED_QUEUE, type Environment, FLEET, queueAddress } from "./settings.ts";

const START_MS_MAX = 60_000;
const STOP_MS_MAX = 20_000;
/** A program that dies again and again is started ever more slowly: each start of a node may burn a few packets. */
const RESTART_MS_MIN = 500;
const RESTART_MS_MAX = 30_000;
/** Who ran this long is healthy: the next death is the first one again. */
const HEALTHY_MS = 60_000;

export interface FleetOptions {
  readonly roots: Roots;
  readonly campaign: string;
  readonly epoch: number;
  readonly shards: number;
  /** Node i listens on basePort + i; 0 lets the system choose. */
  readonly basePort: number;
  readonly openNow: boolean;
  readonly rate?: number | undefined;
  readonly logLevel: string;
  readonly env: Environment;
  /** Told of a program that ended and is started again: once for each reason. */
  readonly warn: (text: string) => void;
}

export interface Fleet {
  readonly nodes: readonly { readonly shard: number; readonly url: string }[];
  /** Resolves with the reason if a program refused to go on. */
  readonly failed: Promise<HongbaoError>;
  /** Nodes first, so that nothing new is claimed; then the worker; then the queue. */
  stop(): Promise<void>;
}

/** @throws HongbaoError if a program does not start */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const embedded = queueAddress(options.env).kind === "none" ? await hostQueue() : undefined;
  let fail: (error: HongbaoError) => void = () => {};
  const failed = new Promise<HongbaoError>((resolve) => {
    fail = resolve;
  });
  const common = ["--campaign", options.campaign, "--epoch", String(options.epoch)];
  const worker = new Program(
    "the credit worker",
    () => ["credit", ...common, ...(options.rate === undefined ? [] : ["--rate", String(options.rate)])],
    options,
    embedded,
    fail,
  );
  const nodes = Array.from({ length: options.shards }, (_, shard) => {
    const wanted = options.basePort === 0 ? 0 : options.basePort + shard;
    const node: Program = new Program(
      `the node of shard ${shard}`,
      () => [
        "node",
        ...common,
        "--shard",
        String(shard),
        "--port",
        node.portOr(wanted),
        ...(options.openNow ? ["--open-now"] : []),
      ],
      options,
      embedded,
      fail,
    );
    return node;
  });
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
    await worker.stop();
    await embedded?.close();
  };
  try {
    const started = Promise.all([worker, ...nodes].map((program) => program.start()));
    const refusal = await Promise.race([started.then(() => undefined), failed]);
    if (refusal) throw refusal;
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes: nodes.map((node, shard) => ({ shard, url: node.url })), failed, stop };
}

async function hostQueue(): Promise<EmbeddedQueue> {
  const { startEmbeddedQueue } = await import("../../core/store/embedded-queue.ts");
  return await startEmbeddedQueue();
}

/** One supervised child process. */
class Program {
  url = "";
  private readonly name: string;
  private readonly args: () => string[];
  private readonly options: FleetOptions;
  private readonly queue: EmbeddedQueue | undefined;
  private readonly fail: (error: HongbaoError) => void;
  private readonly warned = new Set<string>();
  private wasReady = false;
  private restartMs = RESTART_MS_MIN;
  private readyAtMs = Number.POSITIVE_INFINITY;
  private child: ChildProcess | undefined;
  private stopping = false;

  constructor(
    name: string,
    args: () => string[],
    options: FleetOptions,
    queue: EmbeddedQueue | undefined,
    fail: (error: HongbaoError) => void,
  ) {
    this.name = name;
    this.args = args;
    this.options = options;
    this.queue = queue;
    this.fail = fail;
  }

  /** A program that is started again keeps its port. */
  portOr(wanted: number): string {
    return this.url === "" ? String(wanted) : new URL(this.url).port;
  }

  /** Resolves when the program says that it is ready. */
  async start(): Promise<void> {
    const child = this.fork();
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(this.silent()), START_MS_MAX);
      let refusal: HongbaoError | undefined;
      child.on("message", (message: unknown) => {
        refusal ??= this.refusalIn(message);
        const ready = readyMessage(message);
        if (ready === undefined) return;
        clearTimeout(timer);
        this.url = ready.url ?? "";
        this.wasReady = true;
        this.readyAtMs = performance.now();
        resolve();
      });
      // Not "exit", which may come before the last message.
      child.once("close", (code, signal) => {
        clearTimeout(timer);
        const ended = `${this.name} ended (${signal ?? `exit code ${code}`}): see its log`;
        const reason = refusal ?? new HongbaoError(code === 2 ? "invalid_config" : "unavailable", ended);
        this.ended(reason);
        reject(reason);
      });
    });
  }

  async stop(): Promise<void> {
    this.stopping = true;
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    await exited;
    clearTimeout(timer);
  }

  private fork(): ChildProcess {
    const { roots, env, logLevel } = this.options;
    const child = fork(fileURLToPath(import.meta.resolve("#hongbao")), this.args(), {
      env: {
        ...env,
        SEEDS_DIR: roots.seedsDir,
        KEYS_DIR: roots.keysDir,
        DATA_DIR: roots.dataDir,
        LOG_LEVEL: logLevel,
        [FLEET]: "1",
        ...(this.queue && { [EMBEDDED_QUEUE]: "1" }),
      },
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.queue?.attach(child);
    this.child = child;
    return child;
  }

  private ended(reason: HongbaoError): void {
    if (this.stopping) return;
    if (reason.exitCode === 2) {
      this.fail(reason);
      return;
    }
    if (performance.now() - this.readyAtMs > HEALTHY_MS) this.restartMs = RESTART_MS_MIN;
    this.readyAtMs = Number.POSITIVE_INFINITY;
    if (this.wasReady && !this.warned.has(reason.message))
      this.options.warn(`${reason.message}; it is started again`);
    this.warned.add(reason.message);
    setTimeout(() => {
      // A start that fails again comes back here through its own exit.
      if (!this.stopping) this.start().catch(() => {});
    }, this.restartMs);
    this.restartMs = Math.min(RESTART_MS_MAX, this.restartMs * 2);
  }

  /** What a program says when it refuses to start or cannot go on. */
  private refusalIn(message: unknown): HongbaoError | undefined {
    if (typeof message !== "object" || message === null || !("hongbaoRefused" in message)) return undefined;
    const refused = message.hongbaoRefused as { message: string; exitCode: number };
    return new HongbaoError(
      refused.exitCode === 2 ? "invalid_config" : "unavailable",
      `${this.name}: ${refused.message}`,
    );
  }

  private silent(): HongbaoError {
    return new HongbaoError(
      "unavailable",
      `${this.name} was not ready within ${START_MS_MAX / 1000} seconds`,
    );
  }
}

function readyMessage(message: unknown): { url?: string } | undefined {
  if (typeof message !== "object" || message === null || !("hongbaoReady" in message)) return undefined;
  const ready = message.hongbaoReady;
  return typeof ready === "object" && ready !== null ? ready : undefined;
}
