/**
 * One answer that a client received, or did not: a line of JSON, written by the load side at the moment it was seen
 * and read here. Nothing of the programs' own records is in it.
 */
import { createReadStream } from "node:fs";

export interface Observation {
  readonly ask: "shake" | "open";
  readonly user: string;
  readonly device: string;
  /** The Idempotency-Key of a shake. */
  readonly key?: string | undefined;
  /** The token that is to be opened. */
  readonly token?: string | undefined;
  /** Answers that had been written down when this was asked; not given: all that stand before it. */
  readonly askedAfter?: number | undefined;
  /** HTTP status; null if the client got no answer, and so cannot know whether it was heard. */
  readonly status: number | null;
  readonly answer?: Readonly<Record<string, unknown>> | undefined;
}

export function formatObservation(observation: Observation): string {
  return `${JSON.stringify(observation)}\n`;
}

export async function* readObservations(path: string): AsyncGenerator<Observation> {
  let rest = "";
  for await (const chunk of createReadStream(path, { encoding: "utf8", highWaterMark: 1 << 20 })) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line) as Observation;
  }
  if (rest !== "") throw new Error(`the observations in ${path} end in the middle of a line`);
}
