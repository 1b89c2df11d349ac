/**
 * A crowd of simulated shakers over real HTTP: each user shakes, opens what it wins, keeps its newest pass, and
 * stops when it has had its share or the show is over. Every answer is counted; what a user was promised and
 * what it was shown must agree.
 */
import { Agent, request } from "node:http";

export interface CrowdOptions {
  readonly nodes: readonly string[];
  readonly users: number;
  /** Users that shake at the same time. */
  readonly concurrency: number;
  /** Nobody shakes after this moment. */
  readonly untilMs: number;
}

export interface CrowdCounts {
  shakes: number;
  packets: number;
  opened: number;
  openedCents: number;
  /** Answers that no honest client should see. */
  refused: number;
  /** Requests without an answer: repeated, with the same Idempotency-Key. */
  unanswered: number;
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

const REQUEST_MS_MAX = 5_000;
const GREETING_PAUSE_MS = 150;
const RETRY_MS = 250;

/** Resolves when every user is done. `counts` is live while the crowd shakes. */
export function startCrowd(options: CrowdOptions): { counts: CrowdCounts; done: Promise<void> } {
  const counts: CrowdCounts = { shakes: 0, packets: 0, opened: 0, openedCents: 0, refused: 0, unanswered: 0 };
  const agent = new Agent({ keepAlive: true, maxSockets: options.concurrency });
  let next = 0;
  const lane = async () => {
    while (next < options.users && Date.now() < options.untilMs) await shaker(next++, options, agent, counts);
  };
  const done = Promise.all(Array.from({ length: options.concurrency }, lane)).then(() => agent.destroy());
  return { counts, done };
}

/** One user at one node: the gateway in front keeps a user where the first request went. */
async function shaker(
  index: number,
  options: CrowdOptions,
  agent: Agent,
  counts: CrowdCounts,
): Promise<void> {
  const node = options.nodes[index % options.nodes.length];
  if (node === undefined) return;
  const holder = { user: `user-${index}`, device: `phone-${index}` };
  const ask = (path: string, body: object, key?: string) =>
    insist(agent, new URL(path, node), body, key, options, counts);
  let pass: string | undefined;
  for (let shake = 0; Date.now() < options.untilMs; shake++) {
    counts.shakes++;
    const answer = await ask(
      "/v1/shake",
      { ...holder, ...(pass !== undefined && { pass }) },
      `${index}-${shake}`,
    );
    const outcome = answer?.body["outcome"];
    if (outcome === "packet") {
      counts.packets++;
      pass = String(answer?.body["pass"]);
      const opened = await ask("/v1/open", { ...holder, token: answer?.body["token"], pass });
      if (opened?.status === 200) {
        counts.opened++;
        counts.openedCents += Number(opened.body["cents"]);
      }
    } else if (outcome === "limit" || outcome === "over") return;
    else await pause(outcome === "countdown" ? untilStart(answer?.body["startsAt"]) : GREETING_PAUSE_MS);
  }
}

/** Repeats a request that got no answer or a 503, as a good client does: the answer is the same one. */
async function insist(
  agent: Agent,
  url: URL,
  body: object,
  key: string | undefined,
  options: CrowdOptions,
  counts: CrowdCounts,
): Promise<Answer | undefined> {
  while (Date.now() < options.untilMs + REQUEST_MS_MAX) {
    const answer = await post(agent, url, body, key).catch(() => undefined);
    if (answer !== undefined && answer.status !== 503) {
      if (answer.status !== 200) counts.refused++;
      return answer;
    }
    counts.unanswered++;
    await pause(RETRY_MS);
  }
  return undefined;
}

function post(agent: Agent, url: URL, body: object, key: string | undefined): Promise<Answer> {
  const text = JSON.stringify(body);
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    ...(key !== undefined && { "idempotency-key": key }),
  };
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: "POST", agent, headers, timeout: REQUEST_MS_MAX }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        try {
          const parsed = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Record<string, unknown>;
          resolve({ status: response.statusCode ?? 0, body: parsed });
        } catch (error) {
          reject(error);
        }
      });
    });
    sent.on("timeout", () => sent.destroy(new Error("no answer")));
    sent.on("error", reject);
    sent.end(text);
  });
}

function untilStart(startsAt: unknown): number {
  if (typeof startsAt !== "string") return 500;
  return Math.min(2_000, Math.max(20, Date.parse(startsAt) - Date.now()));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms * (0.75 + (performance.now() % 50) / 100)));
}
