/**
 * Honest users meanwhile: they shake and open all the time, most of them on the gateway's few long-lived
 * connections, some on a new one, and every answer that an honest user should never see is written down. They come
 * when they come, whether those before them were answered or not: a node that stalls has many of them wait.
 */
import { Agent, request } from "node:http";

const USERS_PER_SECOND = 200;
const TICK_MS = 5;
const GATEWAY_SOCKETS = 8;
/** Every so many users come on a connection of their own. */
const NEWCOMERS = 5;
const REQUEST_MS_MAX = 10_000;
const OUTCOMES = ["packet", "greeting", "limit"];

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

export class HonestCrowd {
  readonly wrong: string[] = [];
  /** token -> user */
  readonly given = new Map<string, string>();
  /** packet -> cents */
  readonly opened = new Map<string, number>();
  private readonly port: number;
  private readonly agent = new Agent({ keepAlive: true, maxSockets: GATEWAY_SOCKETS });
  private readonly arriving: NodeJS.Timeout;
  private readonly present = new Set<Promise<void>>();
  /** When each request was made that is not answered yet. */
  private readonly waiting = new Set<{ readonly sinceMs: number }>();
  private latenciesMs: number[] = [];
  private users = 0;

  constructor(port: number) {
    this.port = port;
    const startedMs = performance.now();
    this.arriving = setInterval(() => {
      const due = ((performance.now() - startedMs) / 1000) * USERS_PER_SECOND;
      while (this.users < due) this.arrive(this.users++);
    }, TICK_MS);
  }

  /** @returns what every request took that was answered since the last call, and how long each of the others waits */
  takeLatenciesMs(): number[] {
    const taken = this.latenciesMs;
    this.latenciesMs = [];
    const nowMs = performance.now();
    for (const { sinceMs } of this.waiting) taken.push(nowMs - sinceMs);
    return taken;
  }

  async leave(): Promise<void> {
    clearInterval(this.arriving);
    await Promise.all(this.present);
    this.agent.destroy();
  }

  private arrive(number: number): void {
    const visit = this.user(`honest-${number}`, number % NEWCOMERS === 0).finally(() =>
      this.present.delete(visit),
    );
    this.present.add(visit);
  }

  private async user(user: string, isNew: boolean): Promise<void> {
    const holder = { user, device: "phone" };
    try {
      const shaken = await this.ask("/v1/shake", holder, isNew, user);
      const { outcome, token, pass } = shaken.body;
      if (shaken.status !== 200 || !OUTCOMES.includes(String(outcome)))
        return this.note(`shake: ${JSON.stringify(shaken)}`);
      if (outcome !== "packet") return;
      if (this.given.has(String(token))) this.note(`${token} was given to ${user} and another`);
      this.given.set(String(token), user);
      const opened = await this.ask("/v1/open", { ...holder, token, pass }, isNew);
      const { packet, cents } = opened.body;
      if (opened.status !== 200 || !(Number(cents) > 0)) return this.note(`open: ${JSON.stringify(opened)}`);
      this.opened.set(String(packet), Number(cents));
    } catch (error) {
      this.note(`${user} on a ${isNew ? "new" : "kept"} connection: ${(error as Error).message}`);
    }
  }

  private note(what: string): void {
    this.wrong.push(what);
  }

  private async ask(path: string, body: object, isNew: boolean, key?: string): Promise<Answer> {
    const waiting = { sinceMs: performance.now() };
    this.waiting.add(waiting);
    return await new Promise<Answer>((resolve, reject) => {
      const asked = request({
        port: this.port,
        host: "127.0.0.1",
        path,
        method: "POST",
        timeout: REQUEST_MS_MAX,
        headers: { "content-type": "application/json", ...(key !== undefined && { "idempotency-key": key }) },
        agent: isNew ? false : this.agent,
      });
      asked.on("timeout", () => asked.destroy(new Error(`no answer within ${REQUEST_MS_MAX} ms`)));
      asked.on("error", reject);
      asked.on("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, body: text === "" ? {} : JSON.parse(text) });
        });
      });
      asked.end(JSON.stringify(body));
    }).finally(() => {
      this.waiting.delete(waiting);
      this.latenciesMs.push(performance.now() - waiting.sinceMs);
    });
  }
}
