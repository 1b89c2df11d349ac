/**
 * Users at one node: who was given which packet, and who was shown which amount for it.
 */
import { decodeToken, readTokenNonce } from "../../../core/format/token.ts";

const REQUEST_MS_MAX = 10_000;

export class Audience {
  /** Serials that were handed out, to whom. */
  readonly given = new Map<number, string>();
  /** Serials that were opened, with what a 200 showed. */
  readonly opened = new Map<number, { readonly user: string; readonly cents: number }>();
  private readonly name: string;
  private users = 0;

  /** @param name distinguishes its users from those of other audiences */
  constructor(name: string) {
    this.name = name;
  }

  /** So many new users shake, and all but the last one open. @throws if the node does not answer all of them */
  async visit(node: string, users: number): Promise<void> {
    for (let left = users; left > 0; left--) {
      const holder = { user: `${this.name}-${this.users++}`, device: "phone" };
      const shaken = await post(`${node}/v1/shake`, holder);
      if (shaken["outcome"] !== "packet") throw new Error(`a shake ended in ${JSON.stringify(shaken)}`);
      const token = decodeToken(String(shaken["token"]));
      if (token === undefined) throw new Error("a node handed out what is no token");
      const { serial } = readTokenNonce(token);
      if (this.given.has(serial)) throw new Error(`one node handed out packet ${serial} twice`);
      this.given.set(serial, holder.user);
      if (left === 1 && users > 1) break;
      const { cents } = await post(`${node}/v1/open`, {
        ...holder,
        token: shaken["token"],
        pass: shaken["pass"],
      });
      this.opened.set(serial, { user: holder.user, cents: Number(cents) });
    }
  }
}

async function post(url: string, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(REQUEST_MS_MAX),
  });
  const answer = (await response.json()) as Record<string, unknown>;
  if (response.status !== 200) throw new Error(`${response.status} ${JSON.stringify(answer)}`);
  return answer;
}
