/**
 * One POST over a kept-alive connection. No answer is an answer too: whoever asked cannot know whether it was heard.
 */
import { type Agent, request } from "node:http";

const REQUEST_MS_MAX = 5_000;

export interface Posted {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** @returns undefined if there was no whole answer in time */
export function post(
  agent: Agent,
  url: string,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<Posted | undefined> {
  const text = JSON.stringify(body);
  const options = {
    method: "POST",
    agent,
    headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text), ...headers },
    timeout: REQUEST_MS_MAX,
  };
  return new Promise((resolve) => {
    const sent = request(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", () => resolve(undefined));
      response.on("end", () => {
        try {
          const parsed = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Record<string, unknown>;
          resolve({ status: response.statusCode ?? 0, body: parsed });
        } catch {
          resolve(undefined);
        }
      });
      response.on("aborted", () => resolve(undefined));
    });
    sent.on("timeout", () => sent.destroy());
    sent.on("error", () => resolve(undefined));
    sent.end(text);
  });
}
