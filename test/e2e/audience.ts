/**
 * The audience of an end-to-end test: users that shake with an Idempotency-Key, repeat what was not answered, open
 * what they won, and write down every answer they saw. The checker reads nothing but these notes.
 */
const RETRY_MS = 50;
const REQUEST_MS_MAX = 3_000;

export interface Notes {
  /** token -> users that were given it */
  readonly given: Map<string, Set<string>>;
  /** packet -> cents that a 200 showed */
  readonly opened: Map<string, number>;
  /** What no honest client should ever see. */
  readonly wrong: string[];
}

export function newNotes(): Notes {
  return { given: new Map(), opened: new Map(), wrong: [] };
}

export interface User {
  readonly user: string;
  readonly device: string;
}

/** One user: a shake, and, if it won, an open, each repeated until it is answered. @returns the shake's outcome */
export async function shakeAndOpen(
  node: string,
  user: User,
  notes: Notes,
  until: () => boolean,
): Promise<string> {
  const shaken = await insist(`${node}/v1/shake`, user, { "idempotency-key": user.user }, until);
  if (shaken === undefined) return "unanswered";
  if (shaken.status !== 200) notes.wrong.push(`shake ${shaken.status} ${JSON.stringify(shaken.body)}`);
  const { outcome, token, pass } = shaken.body;
  if (outcome !== "packet") return String(outcome);
  const holders = notes.given.get(String(token)) ?? new Set();
  notes.given.set(String(token), holders.add(user.user));
  const opened = await insist(`${node}/v1/open`, { ...user, token, pass }, {}, until);
  if (opened === undefined) return "unanswered";
  if (opened.status !== 200) notes.wrong.push(`open ${opened.status} ${JSON.stringify(opened.body)}`);
  else notes.opened.set(String(opened.body["packet"]), Number(opened.body["cents"]));
  return "packet";
}

/** Repeats a request until it gets an answer other than 503, or `until` says that it is enough. */
async function insist(
  url: string,
  body: object,
  headers: Record<string, string>,
  until: () => boolean,
): Promise<{ status: number; body: Record<string, unknown> } | undefined> {
  while (!until()) {
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(REQUEST_MS_MAX),
      });
      const answer = (await response.json()) as Record<string, unknown>;
      if (response.status !== 503) return { status: response.status, body: answer };
    } catch {
      // The node is down: a client does not know whether it was heard, and asks again.
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  return undefined;
}
