/**
 * The compiled command as its users meet it: real processes with arguments, environment, exit code and two streams.
 * `run` waits for the end, and a command that hangs fails its test; `start` leaves a daemon running, and whatever a
 * test leaves behind is killed by `killAll`, or with the tests at the latest.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(import.meta.resolve("#hongbao"));
const RUN_MS_MAX = 30_000;
const WAIT_MS_MAX = 20_000;
/** A machine of two cores carries two commands at a time; more only make each other late. */
const RUNNING_MAX = 2;

export interface RunOptions {
  /** All of the environment but for PATH: nothing leaks in from the shell that runs the tests. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
  readonly timeoutMs?: number;
  /** No file may grow above this: as a full disk, every write behind it fails. */
  readonly fileKibMax?: number;
  /** Where a stream goes instead of into the answer: /dev/full. */
  readonly stdoutTo?: string;
  readonly stderrTo?: string;
  /** The command mostly waits: it may run beside the others. */
  readonly idle?: boolean;
}

export interface Ended {
  /** null: killed by a signal */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const alive = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of alive) child.kill("SIGKILL");
});

/** Kills every process that is still running: for `afterEach` and `afterAll`. */
export async function killAll(): Promise<void> {
  const children = [...alive];
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(children.map(closed));
}

/** Runs a command to its end. @throws Error if it does not come */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const release = options.idle ? () => {} : await turn();
  try {
    const limitMs = options.timeoutMs ?? RUN_MS_MAX;
    const child = launch(args, options);
    const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, limitMs);
    const code = await closed(child);
    clearTimeout(timer);
    const ended = { code, stdout: stdout(), stderr: stderr() };
    if (late) throw new Error(`hongbao ${args.join(" ")} hung for ${limitMs} ms: ${JSON.stringify(ended)}`);
    return ended;
  } finally {
    release();
  }
}

/** A program that goes on until it is told to stop. */
export interface Daemon {
  readonly stdout: string;
  readonly stderr: string;
  /** Resolves when the output (both streams) matches. @throws Error with the output if it does not, or the program ends */
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>;
  /** Asks for a clean stop. @returns the exit code */
  stop(): Promise<number | null>;
  /** Holds the program where it is: it keeps its locks and does nothing. */
  pause(): void;
  /** As a power cut. */
  kill(): Promise<void>;
  /** Resolves when the program has ended by itself. @returns the exit code */
  readonly ended: Promise<number | null>;
}

export function start(args: readonly string[], options: RunOptions = {}): Daemon {
  const child = launch(args, options);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const ended = closed(child);
  return {
    get stdout() {
      return stdout();
    },
    get stderr() {
      return stderr();
    },
    ended,
    async waitFor(pattern, timeoutMs = WAIT_MS_MAX) {
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const over = !alive.has(child) || performance.now() > deadline;
        const found = `${stdout()}\n${stderr()}`.match(pattern);
        if (found) return found;
        if (over) throw new Error(`hongbao ${args.join(" ")} never said ${pattern}: ${stdout()}${stderr()}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    async stop() {
      child.kill("SIGTERM");
      return await ended;
    },
    pause() {
      child.kill("SIGSTOP");
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Starts an access node on a free port. @returns it and its base URL, once it serves */
export async function startNode(
  args: readonly string[],
  options: RunOptions,
): Promise<{ node: Daemon; url: string }> {
  const node = start(["node", ...args, "--port", "0", "--json"], options);
  const [, url = ""] = await node.waitFor(/"url":"([^"]+)"/);
  return { node, url };
}

function launch(args: readonly string[], options: RunOptions): ChildProcess {
  const command = [process.execPath, MAIN, ...args];
  // A write above the limit fails with EFBIG, if nobody dies of the signal that comes with it.
  const limited = ["-c", `trap "" XFSZ; ulimit -f ${options.fileKibMax}; exec "$@"`, "bash", ...command];
  const [file = "", ...rest] = options.fileKibMax === undefined ? command : ["bash", ...limited];
  const outputs = [options.stdoutTo, options.stderrTo].map((to) => (to ? openSync(to, "w") : "pipe"));
  const child = spawn(file, rest, {
    env: { PATH: process.env["PATH"] ?? "", ...options.env },
    cwd: options.cwd,
    stdio: ["ignore", ...outputs],
  });
  for (const output of outputs) if (typeof output === "number") closeSync(output);
  alive.add(child);
  child.once("close", () => alive.delete(child));
  return child;
}

function closed(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once("close", (code) => resolve(code));
    child.once("error", reject);
  });
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  stream?.on("data", (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString("utf8");
}

let running = 0;
const waiting: (() => void)[] = [];

async function turn(): Promise<() => void> {
  if (running < RUNNING_MAX) running++;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  return () => {
    const next = waiting.shift();
    if (next) next();
    else running--;
  };
}
