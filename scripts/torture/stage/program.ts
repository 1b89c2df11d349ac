/**
 * The compiled programs as real processes, to be killed and started again. A program is known to be ready by the
 * line it prints on stdout.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(import.meta.resolve("#hongbao"));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export async function hongbao(args: string[], env: Record<string, string>): Promise<Ended> {
  const child = launch(args, env);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout: stdout(), stderr: stderr() };
}

/** A long-running program that can be killed as a power cut would, and started again. */
export class Program {
  private readonly args: string[];
  private readonly env: Record<string, string>;
  private readonly listen: (said: Buffer) => void;
  private child: ChildProcess | undefined;
  /** Behind "exit", and behind its last words; its streams alone may close in front of both. */
  private closed: Promise<unknown> = Promise.resolve();
  private errors: () => string = () => "";

  /** @param listen hears all that the program says, on stdout and on stderr */
  constructor(args: string[], env: Record<string, string>, listen: (said: Buffer) => void = () => {}) {
    this.args = args;
    this.env = env;
    this.listen = listen;
  }

  get pid(): number {
    if (this.child?.pid === undefined) throw new Error(`${this.args[0]} is not running`);
    return this.child.pid;
  }

  get stderr(): string {
    return this.errors();
  }

  /** Resolves with the first line on stdout (a node's `--json` line), or at once for a program that prints none. */
  async start(waitForLine = true): Promise<string> {
    const child = launch(this.args, this.env);
    this.child = child;
    this.errors = collect(child.stderr);
    child.stdout?.on("data", this.listen);
    child.stderr?.on("data", this.listen);
    this.closed = once(child, "close");
    // Whoever waits for it hears of a failure.
    this.closed.catch(() => {});
    if (!waitForLine) return "";
    const ended = this.closed.then(() => {
      throw new Error(`${this.args[0]} ended before it was ready: ${this.stderr}`);
    });
    const line = child.stdout ? once(child.stdout, "data") : ended;
    const [data] = (await Promise.race([line, ended])) as [Buffer];
    ended.catch(() => {});
    return data.toString();
  }

  /** Resolves when it has ended and said its last word, with its exit code or the signal that killed it. */
  async ended(): Promise<number | NodeJS.Signals | null> {
    const { child } = this;
    if (child === undefined) throw new Error(`${this.args[0]} was not started`);
    await this.closed;
    return child.exitCode ?? child.signalCode;
  }

  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  /** @returns the exit code of a clean stop */
  async stop(): Promise<number | null> {
    return await this.end("SIGTERM");
  }

  private async end(signal: NodeJS.Signals): Promise<number | null> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null)
      return child?.exitCode ?? null;
    const exited = once(child, "exit");
    child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  }
}

function launch(args: string[], env: Record<string, string>): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env["PATH"] ?? "", LOG_LEVEL: "info", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  stream?.on("data", (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString("utf8");
}
