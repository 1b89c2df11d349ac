/**
 * Writes down every answer that a client received, at once and in order: the one way in which answers reach the
 * checker. What it counts is for pacing an experiment only; the checker counts for itself.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { formatObservation, type Observation } from "../checker/observation.ts";

const BUFFER_CHARS = 256 * 1024;

export class Recorder {
  readonly path: string;
  /** Answers that were written down. */
  noted = 0;
  /** Opens that were answered with 200, repeated ones included. */
  acknowledged = 0;
  /** Called with the text of every refusal: a place where a secret must never appear. */
  onRefusal: (text: string) => void = () => {};
  private readonly file: number;
  private buffered = "";

  constructor(path: string) {
    this.path = path;
    this.file = openSync(path, "wx");
  }

  note(observation: Observation): void {
    const { ask, status, answer } = observation;
    this.noted++;
    if (ask === "open" && status === 200) this.acknowledged++;
    if (status !== null && status !== 200) this.onRefusal(JSON.stringify(answer));
    this.buffered += formatObservation(observation);
    if (this.buffered.length >= BUFFER_CHARS) this.flush();
  }

  close(): void {
    this.flush();
    closeSync(this.file);
  }

  private flush(): void {
    writeSync(this.file, this.buffered);
    this.buffered = "";
  }
}
